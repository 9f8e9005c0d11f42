"""`python -m app.retrain.launch JOBDIR OPTION…`: one run of the trainer in several processes.

The options are those of `accelerate launch`, `--num_processes` at least. Each process is
`app.retrain.train` (train.py) and ends when this one does, however it ends. The exit code is that
of the first process that failed, as train.py means it. On several machines this runs on each of
them, with `--num_machines`, `--machine_rank`, `--main_process_ip` and `--main_process_port`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from app.retrain.train import FAILED, FINISHED, INVALID, MISSING

CONFIGS = Path(__file__).parent / "configs"
DDP, FSDP2 = CONFIGS / "ddp.yaml", CONFIGS / "fsdp2.yaml"


def make_command(python: str, folder: Path, *, processes: int, fsdp: bool) -> list[str]:
    """How `processes` of one machine are started. Whoever starts several machines adds options."""
    options = ["--config_file", str(FSDP2 if fsdp else DDP), "--num_processes", str(processes)]
    return [python, "-m", "app.retrain.launch", str(folder), *options]


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        return _end(INVALID, "usage: python -m app.retrain.launch JOBDIR OPTION…")
    try:
        import torch
        from accelerate.commands.launch import launch_command, launch_command_parser
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    except ModuleNotFoundError as missing:
        return _end(MISSING, f"{missing.name} is not installed: pip install 'verivote[train]'")
    if not torch.accelerator.is_available():
        # Without it processes on CPUs would not know of one another.
        os.environ["ACCELERATE_USE_CPU"] = "true"
    folder, *options = arguments
    # Port 0: any free one, as two nights may train at once. Several machines name one after this.
    options = ["--main_process_port", "0", *options]
    # Each process is in a session of its own, so nobody's signal to a group reaches it; the kernel
    # is asked to end it with this one, which is its parent.
    trainer = [sys.executable, "-m", "app.retrain.train", folder]
    process = ["-m", "app.retrain.child", "0", str(os.getpid()), *trainer]
    try:
        launch_command(launch_command_parser().parse_args([*options, *process]))
    except ChildFailedError as failed:
        _, first = failed.get_first_failure()
        return first.exitcode if first.exitcode > 0 else FAILED
    return FINISHED


def _end(code: int, text: str) -> int:
    sys.stderr.write(f"verivote train: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
