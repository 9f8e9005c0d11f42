"""`python -m app.retrain.train JOBDIR`: one run of the trainer in a process of its own.

Reads `job.json` (config.py: Job) and `rows.jsonl` (examples.py), and writes beside them
`metrics.jsonl` (one line a step), `checkpoints/`, `result.json` and, under `out` or here, the
policy's folder. Started again after any end it goes on, or says again what came out. With several
processes: `python -m app.retrain.launch` (launch.py), which has the same exit codes.

Exit codes:
    0  finished: `result.json` names the policy's folder
    1  failed: standard error says how
    2  the job or its rows are not valid
    3  a part is missing: the extra `train` is not installed
    4  stopped by a guard: `result.json` says why, and names a folder if a good checkpoint was kept
    5  refused before training: the canary, or nothing to learn from
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import ConfigError
from app.retrain.config import Job, read_job
from app.retrain.engine import Trained
from app.retrain.examples import read_file
from app.retrain.folders import write_file
from app.retrain.guards import Measured

if TYPE_CHECKING:
    from app.retrain.trainer import OnStep

FINISHED, FAILED, INVALID, MISSING, STOPPED, REFUSED = range(6)
JOB, ROWS, RESULT = "job.json", "rows.jsonl", "result.json"

_EXITS = {"finished": FINISHED, "stopped": STOPPED, "refused": REFUSED}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        _say("usage: python -m app.retrain.train JOBDIR")
        return INVALID
    folder = Path(arguments[0])
    try:
        job = read_job(folder / JOB)
        result = _run(folder, job)
    except ConfigError as invalid:
        _say(invalid.message)
        return INVALID
    except ModuleNotFoundError as missing:
        _say(f"{missing.name} is not installed: pip install 'verivote[train]'")
        return MISSING
    except (MemoryError, RuntimeError, OSError) as failed:
        if not _is_about_memory(failed):
            raise
        _say("not enough memory: raise memory_gb or lower train.token_budget")
        return FAILED
    if not _is_first():
        return FINISHED  # any other code would end the first process while it writes
    write_file(folder / RESULT, json.dumps(result, indent=1).encode())
    if result["reason"]:
        _say(f"{result['outcome']}: {result['reason']}")
    return _EXITS[result["outcome"]]


def _run(folder: Path, job: Job) -> dict[str, Any]:
    # Products of matrices that cuBLAS may order as it likes would differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch
    from transformers.utils import logging

    from app.retrain.tokenising import Tokeniser
    from app.retrain.trainer import PeftEngine

    # Only now: a library that runs out of memory while it is loaded fails in ways of its own.
    _limit_memory(job)
    if job.train.threads is not None:
        torch.set_num_threads(job.train.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    logging.disable_progress_bar()
    tokeniser = Tokeniser(job.base)
    place = tokeniser.place if job.train.shaping.process_weight > 0 else None
    groups = read_file(folder / ROWS, tokenise=tokeniser, place=place)
    canary = job.canary if job.canary.rows else None
    with _progress() as on_step:
        engine = PeftEngine(
            folder,
            out=job.out,
            canary=canary,
            parent_policy=job.parent_policy,
            on_step=on_step,
        )
        return _result(engine.train(groups, job.base, job.parent_adapter, job.train))


def _result(trained: Trained) -> dict[str, Any]:
    said = asdict(trained)
    return said | {"folder": None if trained.folder is None else str(trained.folder)}


def _limit_memory(job: Job) -> None:
    """Of data, not of addresses: a GPU's driver reserves far more of those than it uses. The
    processes of a machine have equal shares."""
    if job.memory_gb is not None:
        most = int(job.memory_gb * 2**30) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _is_about_memory(failed: Exception) -> bool:
    """Torch says it with a RuntimeError, in other words for each kind of device; the system, to
    whoever opens a file or maps it, with ENOMEM."""
    words = ("can't allocate memory", "cannot allocate memory", "out of memory")
    said = str(failed).lower()
    return isinstance(failed, MemoryError) or any(word in said for word in words)


@contextlib.contextmanager
def _progress() -> Iterator[OnStep | None]:
    """A bar on standard error when somebody may be looking."""
    console = Console(stderr=True)
    if not console.is_terminal or not _is_first():
        yield None
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None)

        def on_step(measured: Measured, steps: int) -> None:
            said = f"loss {measured.loss:.4f}  reward {measured.reward:.2f}"
            if measured.m2 is not None:
                said += f"  M2 {measured.m2:.4f}"
            said += f"  {measured.tokens_per_s:.0f} tokens/s"
            progress.update(task, completed=measured.step + 1, total=steps, description=said)

        yield on_step


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say(text: str) -> None:
    sys.stderr.write(f"verivote train: {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
