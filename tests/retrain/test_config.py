from __future__ import annotations

import json
from typing import Any

import pytest

from app.errors import ConfigError
from app.retrain.config import read_job
from app.retrain.objectives import OBJECTIVES


def job(tmp_path: Any, **changes: Any) -> Any:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"base": "model", "train": {"name": "policy-2"}, **changes}))
    return read_job(file)


def test_a_job_says_base_and_name_and_the_rest_has_defaults(tmp_path):
    made = job(tmp_path)

    assert (made.train.objective, made.train.lr, made.train.epochs) == ("tapered", 1e-5, 2)
    assert made.train.lora is not None
    assert (made.train.lora.r, made.train.lora.alpha) == (16, 32.0)
    assert (made.train.groups_per_step, made.train.max_steps) == (16, 128)
    assert made.train.guards.m2_stop == 0.1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_can_be_asked_for(tmp_path, name):
    assert job(tmp_path, train={"name": "p", "objective": name}).train.objective == name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": {}}, "job.json: train.name: Field required"),
        ({"train": {"name": "a b"}}, "job.json: train.name: "),
        ({"train": {"name": "p", "epoch": 3}}, "'train.epoch' is not known; did you mean 'epochs'"),
        (
            {"train": {"name": "p", "guards": {"m2_stp": 3}}},
            "'train.guards.m2_stp' is not known; did you mean 'm2_stop'?",
        ),
        (
            {"train": {"name": "p", "shaping": {"lenth": "linear"}}},
            "'train.shaping.lenth' is not known; did you mean 'length'?",
        ),
        (
            {"train": {"name": "p", "shaping": {"length": "soft_overlong"}}},
            "shaping.max_tokens must be at least 1 with length 'soft_overlong'",
        ),
        (
            {
                "train": {
                    "name": "p",
                    "shaping": {
                        "length": "soft_overlong",
                        "max_tokens": 10,
                        "buffer_tokens": 20,
                    },
                }
            },
            "shaping.buffer_tokens must be at most shaping.max_tokens",
        ),
        ({"train": {"name": "p", "lora": {"targets": []}}}, "train.lora.targets"),
        ({"train": {"name": "p", "lora": {"targets": ["embed_tokens"]}}}, "cannot be served"),
        (
            {"train": {"name": "p", "lora": {"use_dora": True}}},
            "'train.lora.use_dora' is not known",
        ),
        ({"canary": {"row": 3}}, "'canary.row' is not known; did you mean 'rows'?"),
        ({"memory_gb": 0}, "memory_gb: Input should be greater than 0"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, change, said):
    with pytest.raises(ConfigError) as caught:
        job(tmp_path, **change)

    assert said in str(caught.value)


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "job.json").write_text("{")

    with pytest.raises(ConfigError, match=r"job.json is not JSON"):
        read_job(tmp_path / "job.json")
