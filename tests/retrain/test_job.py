"""What a night asks of the trainer is what its settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.retrain.config import Job, TrainConfig
from app.retrain.job import JobFolder, make_job
from app.settings import RetrainSettings


def job_of(**settings: Any) -> Job:
    return Job.model_validate(
        make_job(
            RetrainSettings.model_validate(settings),
            name="policy-1",
            base=Path("/models/base"),
            base_model="base",
            parent=None,
            out=Path("/data/policies"),
            seed=7,
        )
    )


def test_defaults_of_a_night_are_those_of_the_trainer():
    asked = job_of().train.model_dump(exclude={"guards"})

    assert asked == TrainConfig(name="policy-1", seed=7).model_dump(exclude={"guards"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gradient_checkpointing", False),
        ("token_budget", 2_048),
        ("groups_per_step", 4),
        ("max_steps", 9),
        ("warmup", 0.0),
        ("grad_clip", 0.5),
    ],
)
def test_a_setting_reaches_the_trainer_under_its_name(key, value):
    assert getattr(job_of(**{key: value}).train, key) == value


def test_shaping_reaches_the_trainer():
    wanted = {
        "length": "soft_overlong",
        "max_tokens": 512,
        "buffer_tokens": 64,
        "process_weight": 0.2,
    }

    shaping = job_of(shaping=wanted).train.shaping

    assert {key: getattr(shaping, key) for key in wanted} == wanted


@pytest.mark.parametrize(
    ("shaping", "said"),
    [
        ({"length": "soft_overlong"}, "needs max_tokens and buffer_tokens"),
        (
            {"length": "soft_overlong", "max_tokens": 8, "buffer_tokens": 9},
            "buffer_tokens must be at most max_tokens",
        ),
    ],
)
def test_a_bound_that_is_none_is_named(shaping, said):
    with pytest.raises(ValueError, match=said):
        RetrainSettings.model_validate({"shaping": shaping})


def test_the_trainers_last_words_are_its_own_and_of_this_run(tmp_path):
    """A launcher adds lines behind them, and an earlier run wrote into the same log."""
    log = tmp_path / "train.log"
    log.write_text("verivote train: of yesterday\n")
    begun = log.stat().st_size
    log.write_text(
        log.read_text() + "verivote train: not enough memory\nE1128 failed (exitcode: 1)\n"
    )

    assert JobFolder(tmp_path).last_words(begun) == "not enough memory"
    assert JobFolder(tmp_path).last_words(log.stat().st_size) == ""
