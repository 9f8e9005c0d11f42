"""`python -m app.retrain.train` as a process: its files, its exit codes, and kill -9."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.retrain.train import FAILED, FINISHED, INVALID, REFUSED, STOPPED, main
from tests.parts import ROOT
from tests.retrain.tiny import make_model, make_rows, save_model, settings, write_job

pytestmark = pytest.mark.train

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "ACCELERATE_USE_CPU": "true",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return make_rows(make_model(), groups=12)


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def steps_of(folder: Path) -> list[int]:
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("}")]


def test_a_job_becomes_a_policy(tmp_path, base, rows):
    folder = write_job(tmp_path, base, rows)
    command = [sys.executable, "-W", "error", "-m", "app.retrain.train", folder]

    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (FINISHED, "", "")
    result = result_of(folder)
    assert (result["outcome"], result["reason"], result["steps"]) == ("finished", "", 6)
    assert result["folder"] == str(folder / "policy-1")
    assert result["canary"]["rows"] == 64
    assert result["canary"]["mean"] < 1e-5
    assert {file.name for file in (folder / "policy-1").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "policy.json",
    }
    assert not (folder / "checkpoints").exists()


def test_killed_at_any_step_it_ends_with_the_same_weights(tmp_path, base, rows):
    whole = write_job(tmp_path / "whole", base, rows, epochs=6)
    killed = write_job(tmp_path / "killed", base, rows, epochs=6)
    assert main([str(whole)]) == FINISHED
    rng = random.Random(7)

    kills = 0
    for stop_after in (1, 4, 5, 9, 13):
        kills += run_and_kill(killed, stop_after, delay_s=rng.random() * 0.02)
    assert run(killed) == FINISHED

    assert kills == 5
    assert result_of(killed)["sha256"] != ""
    assert weights(killed) == weights(whole)
    assert steps_of(killed) == steps_of(whole) == list(range(18))


def weights(folder: Path) -> bytes:
    return (folder / "policy-1" / "adapter_model.safetensors").read_bytes()


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.retrain.tiny", "app.retrain.trainer", "app.retrain.canary"])


def start(folder: Path) -> Any:
    # A fork of a process that has everything loaded: a new interpreter would take seconds.
    process = CONTEXT.Process(target=_main, args=(str(folder),))
    process.start()
    return process


def _main(folder: str) -> None:
    sys.exit(main([folder]))


def run(folder: Path) -> int | None:
    process = start(folder)
    process.join()
    code: int | None = process.exitcode
    return code


def run_and_kill(folder: Path, steps: int, *, delay_s: float) -> bool:
    """Kill it `delay_s` after it wrote down `steps` steps in all. True when it was still alive."""
    process = start(folder)
    while process.is_alive() and len(steps_of(folder)) < steps:
        time.sleep(0.001)
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return bool(process.exitcode == -signal.SIGKILL)


def test_half_a_checkpoint_is_not_one(tmp_path, base, rows):
    whole = write_job(tmp_path / "whole", base, rows, epochs=6)
    torn = write_job(tmp_path / "torn", base, rows, epochs=6)
    assert main([str(whole)]) == FINISHED
    run_and_kill(torn, 5, delay_s=0)
    unfinished = torn / "checkpoints" / ".step-000099"
    unfinished.mkdir()
    (unfinished / "state.pt").write_bytes(b"half")
    with (torn / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')

    assert run(torn) == FINISHED

    assert weights(torn) == weights(whole)


def test_a_finished_job_says_again_what_came_out(tmp_path, base, rows):
    folder = write_job(tmp_path, base, rows, max_steps=2)
    assert main([str(folder)]) == FINISHED
    before = result_of(folder)["sha256"]
    (folder / "result.json").unlink()

    assert main([str(folder)]) == FINISHED

    assert result_of(folder)["sha256"] == before


def test_a_run_that_a_guard_stops_has_an_exit_code_of_its_own(tmp_path, base, rows, capsys):
    guards = {**settings()["guards"], "m2_stop": 0.01}
    folder = write_job(tmp_path, base, rows, epochs=8, checkpoint_every=1, lr=5e-3, guards=guards)

    assert main([str(folder)]) == STOPPED

    result = result_of(folder)
    assert result["outcome"] == "stopped"
    assert "guards.m2_stop 0.01" in result["reason"]
    assert Path(result["folder"], "adapter_model.safetensors").exists()
    assert capsys.readouterr().err == f"verivote train: stopped: {result['reason']}\n"


def test_a_template_that_drifted_is_refused_before_training(tmp_path, base, rows):
    drifted = [row | {"prompt_token_ids": [9, *row["prompt_token_ids"]]} for row in rows]
    folder = write_job(tmp_path, base, drifted)

    assert main([str(folder)]) == REFUSED

    result = result_of(folder)
    assert result["outcome"] == "refused"
    assert "canary.max_mean 0.05: chat template, tokenizer" in result["reason"]
    assert not (folder / "metrics.jsonl").exists()


def test_no_group_to_learn_from_is_refused(tmp_path, base, rows):
    folder = write_job(tmp_path, base, [row | {"reward": 1.0} for row in rows])

    assert main([str(folder)]) == REFUSED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base": None}, "job.json: base:"),
        ({"bse": "x"}, "'bse' is not known; did you mean 'base'?"),
        ({"base": "/nowhere"}, "base: there is no folder /nowhere"),
        ({"parent_adapter": "/nowhere"}, "parent_adapter: /nowhere/adapter_config.json"),
        ({"train": {"name": "../x"}}, "train.name"),
        ({"train": {"name": "p", "lr": "fast"}}, "train.lr"),
        ({"train": {"name": "p", "objective": "gpro"}}, "did you mean 'grpo'?"),
        ({"train": {"name": "p", "objective_options": {"x": 1}}}, "objective_options.x"),
        ({"train": {"name": "p", "lora": {"targets": ["lm_head"]}}}, "no output head"),
        ({"train": {"name": "p", "lora": {"targets": ["nothing"]}}}, "lora.targets: "),
    ],
)
def test_a_wrong_job_is_named_in_one_line(tmp_path, base, rows, capsys, change, said):
    folder = write_job(tmp_path, base, rows)
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(job | change))

    assert main([str(folder)]) == INVALID

    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_token_that_the_base_does_not_know_is_named(tmp_path, base, rows, capsys):
    strange = rows[5] | {"token_ids": [1, 99], "logprobs": [-1.0, -1.0]}
    folder = write_job(tmp_path, base, [*rows[:5], strange, *rows[6:]])

    assert main([str(folder)]) == INVALID

    assert "sample 5 of group-0 has token id 99, and base has 32 tokens" in capsys.readouterr().err


def test_a_folder_without_a_job_is_a_usage_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == INVALID
    assert main([]) == INVALID

    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("job.json does not exist")
    assert told[1] == "verivote train: usage: python -m app.retrain.train JOBDIR"


def test_the_process_keeps_to_its_memory(tmp_path, base, rows):
    folder = write_job(tmp_path, base, rows)
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(job | {"memory_gb": 0.15}))
    command = [sys.executable, "-m", "app.retrain.train", folder]

    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)

    said = "verivote train: not enough memory: raise memory_gb or lower train.token_budget\n"
    assert (done.returncode, done.stderr) == (FAILED, said)


def test_training_loads_no_server():
    code = (
        "import sys, app.retrain.train, app.retrain.trainer; "
        "print([m for m in sys.modules if m.split('.')[0] in ('fastapi', 'sqlalchemy', 'aiohttp')"
        " or m.startswith(('app.api', 'app.gateway', 'app.engines'))])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )

    assert done.stdout.strip() == "[]", done.stderr
