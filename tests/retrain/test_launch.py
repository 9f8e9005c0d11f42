"""The trainer in several processes: what comes out is that of one, and all end together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from app.errors import ConfigError
from app.retrain.job import JobFolder
from app.retrain.launch import FSDP2
from app.retrain.process import make_command, train
from app.retrain.train import FINISHED, INVALID, REFUSED, main
from app.settings import RetrainSettings
from tests.parts import ROOT
from tests.retrain.tiny import make_model, make_rows, save_model, write_job

pytestmark = pytest.mark.train

TWO = RetrainSettings(python=sys.executable, processes=2)
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return make_rows(make_model(), groups=12)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, base: Path, rows: list[dict[str, Any]]) -> Path:
    """The job as one process does it."""
    folder = write_job(tmp_path_factory.mktemp("alone"), base, rows)
    assert main([str(folder)]) == FINISHED
    return folder


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


def assert_equal_runs(one: Path, other: Path) -> None:
    """Equal up to rounding: weights of up to 0.2 to 1e-3, measures to a thousandth."""
    mine, theirs = (load_file(f / "policy-1" / "adapter_model.safetensors") for f in (one, other))
    assert set(mine) == set(theirs)
    for name, weight in mine.items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-3)
    for here, there in zip(metrics(one), metrics(other), strict=True):
        assert here["tokens"] == there["tokens"]
        for name in ("loss", "entropy", "m2", "kl", "ess", "grad_norm"):
            assert here[name] == pytest.approx(there[name], rel=1e-3, abs=1e-4)


def metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_two_processes_come_to_what_one_does(tmp_path, base, rows, alone):
    folder = write_job(tmp_path, base, rows)

    done = run(make_command(folder, TWO))

    assert (done.returncode, done.stderr) == (FINISHED, "")
    assert_equal_runs(folder, alone)


def test_weights_spread_over_two_processes_come_to_the_same(tmp_path, base, rows, alone):
    folder = write_job(tmp_path, base, rows)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(FSDP2)]
    on_cpu = ["--main_process_port", "0", "-m", "tests.retrain.fsdp_on_cpu", str(folder)]

    done = subprocess.run(
        [*launch, *on_cpu],
        env={**ENVIRONMENT, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == FINISHED, done.stderr
    assert_equal_runs(folder, alone)


MACHINES = """#!/bin/sh
# Two machines, which are one: the command behind, with each machine's place at its end.
place="--num_machines 2 --main_process_ip 127.0.0.1 --main_process_port $1"
shift
"$@" $place --machine_rank 1 &
exec "$@" $place --machine_rank 0
"""


async def test_a_launcher_starts_the_trainer_on_several_machines(tmp_path, base, rows, alone):
    folder = write_job(tmp_path / "job", base, rows)
    launcher = tmp_path / "machines"
    launcher.write_text(MACHINES)
    launcher.chmod(0o755)
    settings = TWO.model_copy(update={"launcher": (str(launcher), str(free_port()))})

    result = await train(
        JobFolder(folder), make_command(folder, settings), on_steps=lambda steps: None
    )

    assert result["outcome"] == "finished"
    assert_equal_runs(folder, alone)


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


def test_what_two_processes_refuse_is_said_as_by_one(tmp_path, base, rows):
    folder = write_job(tmp_path, base, [row | {"reward": 1.0} for row in rows])

    done = run(make_command(folder, TWO))

    assert done.returncode == REFUSED
    said = "none of 12 groups has what tapered learns from"
    assert json.loads((folder / "result.json").read_text())["reason"] == said
    assert f"verivote train: refused: {said}\n" in done.stderr


async def test_processes_of_a_machine_share_its_memory(tmp_path, base, rows):
    """The limit is passed by both, and what the night hears is what they said, not what their
    launcher adds."""
    folder = write_job(tmp_path, base, rows)
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(job | {"memory_gb": 0.3}))

    with pytest.raises(Exception, match="trainer failed: not enough memory: raise memory_gb"):
        await train(JobFolder(folder), make_command(folder, TWO), on_steps=lambda steps: None)


NIGHT = """
import asyncio, sys
from pathlib import Path
from app.retrain.job import JobFolder
from app.retrain.process import make_command, train
from app.settings import RetrainSettings

folder = Path(sys.argv[1])
settings = RetrainSettings(python=sys.executable, processes=2)
asyncio.run(train(JobFolder(folder), make_command(folder, settings), on_steps=lambda steps: None))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_night_takes_every_process_along(tmp_path, base, rows):
    folder = write_job(tmp_path, base, rows, epochs=100, max_steps=10_000)
    night = subprocess.Popen([sys.executable, "-c", NIGHT, folder], env=ENVIRONMENT)
    wait_until(lambda: len(metrics(folder)) > 2 or night.poll() is not None)
    running = {command[2] for command in processes_of(folder).values()}
    ranks = [pid for pid, c in processes_of(folder).items() if c[2] == "app.retrain.train"]

    night.send_signal(signal.SIGKILL)
    night.wait()

    assert (running, len(ranks)) == ({"app.retrain.launch", "app.retrain.train"}, 2)
    wait_until(lambda: not processes_of(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_process_ends_the_run_and_the_others(tmp_path, base, rows):
    folder = write_job(tmp_path, base, rows, epochs=100, max_steps=10_000)
    run = subprocess.Popen(make_command(folder, TWO), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(metrics(folder)) > 2 or run.poll() is not None)
    second = [pid for pid, c in processes_of(folder).items() if c[2] == "app.retrain.train"][-1]

    os.kill(second, signal.SIGKILL)

    assert run.wait() not in (FINISHED, INVALID, REFUSED)
    assert processes_of(folder) == {}


def processes_of(folder: Path) -> dict[int, list[str]]:
    """Command lines by id, of the trainer's processes in this folder."""
    return {
        pid: command
        for pid, command in commands()
        if str(folder) in command and command[1:2] == ["-m"] and command[2] != "app.retrain.child"
    }


def commands() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().decode()
                yield int(entry.name), line.rstrip("\0").split("\0")


def wait_until(happened: Any) -> None:
    while not happened():
        time.sleep(0.05)


def test_a_program_that_is_not_there_is_named(tmp_path):
    settings = TWO.model_copy(update={"launcher": ("/nowhere/srun", "-N4")})

    with pytest.raises(ConfigError, match=r"retrain.launcher: there is no program '/nowhere/srun'"):
        make_command(tmp_path, settings)


@pytest.mark.parametrize("key", [{"fsdp": True}, {"launcher": ["srun"]}])
def test_one_process_has_nothing_to_spread_or_launch(key):
    with pytest.raises(ValueError, match=r"needs retrain.processes of at least 2"):
        RetrainSettings(**key)
