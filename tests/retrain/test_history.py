from __future__ import annotations

import json

import pytest

from app.retrain.history import History
from tests.retrain.test_guards import measured


def test_every_step_is_a_line(tmp_path):
    history = History(tmp_path / "run" / "metrics.jsonl")
    history.add(measured(step=0, alarms=("M2 is high",)))
    history.add(measured(step=1, m2=None))

    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1]
    assert json.loads(lines[0])["alarms"] == ["M2 is high"]
    assert json.loads(lines[1])["m2"] is None


def test_a_run_that_goes_on_forgets_the_steps_that_it_takes_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    killed = History(path)
    for step in range(5):
        killed.add(measured(step=step, loss=float(step)))
    with path.open("a") as file:
        file.write('{"step": 5, "lo')

    history = History(path)
    history.cut(3)
    history.add(measured(step=3, loss=3.0))

    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [0, 1, 2, 3]
    assert history.summary()["steps"] == 4


def test_the_summary_compares_both_ends(tmp_path):
    history = History(None)
    for step in range(20):
        history.add(measured(step=step, loss=float(step), m2=None if step < 5 else 0.5))

    said = history.summary()

    assert (said["first"]["loss"], said["last"]["loss"]) == (2.0, 17.0)
    assert (said["first"]["m2"], said["last"]["m2"]) == (None, 0.5)
    assert said["tokens"] == 2000
    assert list(tmp_path.iterdir()) == []
    assert History(None).summary() == {}


@pytest.mark.parametrize("missing", ["file", "path"])
def test_a_first_start_has_nothing_to_take_up(tmp_path, missing):
    history = History(None if missing == "path" else tmp_path / "metrics.jsonl")

    history.cut(0)

    assert history.summary() == {}
