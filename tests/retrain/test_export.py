from __future__ import annotations

import json

import pytest

from app.retrain.export import USAGE, main
from app.retrain.train import FINISHED, INVALID
from tests.retrain.tiny import make_model, make_rows, save_model, write_job

pytestmark = pytest.mark.train


@pytest.fixture
def job(tmp_path):
    rows = [row | {"temperature": 1.0} for row in make_rows(make_model(), groups=4)]
    return write_job(tmp_path / "job", save_model(tmp_path / "base"), rows, epochs=1)


def test_a_job_is_written_for_another_trainer(tmp_path, job):
    assert main([str(job), "tinker", str(tmp_path / "tinker")]) == FINISHED
    assert main([str(job), "prime_rl", str(tmp_path / "prime"), "2"]) == FINISHED
    assert main([str(job), "verl", str(tmp_path / "verl")]) == FINISHED

    assert len((tmp_path / "verl" / "rollouts.jsonl").read_text().splitlines()) == 32
    assert len(list((tmp_path / "tinker").glob("step-*.json"))) == 1
    assert {p.name for p in (tmp_path / "prime/rollouts/step_0").iterdir()} == {
        "rank_0.bin",
        "rank_1.bin",
    }
    manifest = json.loads((tmp_path / "tinker" / "manifest.json").read_text())
    assert (manifest["policy"], manifest["objective"]) == ("policy-1", "tapered")


@pytest.mark.parametrize(
    "arguments",
    [[], ["job", "trl", "out"], ["job", "tinker", "out", "2"], ["job", "prime_rl", "out", "0"]],
)
def test_anything_else_is_a_usage_error(capsys, arguments):
    assert main(arguments) == INVALID
    assert capsys.readouterr().err == f"verivote export: {USAGE}\n"


def test_a_folder_that_is_there_is_left_alone(tmp_path, job, capsys):
    (tmp_path / "out").mkdir()

    assert main([str(job), "tinker", str(tmp_path / "out")]) == INVALID
    assert capsys.readouterr().err.endswith("out exists already\n")
