"""The trainer's page names everything that a job may say."""

from __future__ import annotations

import re

import pytest

from app.retrain.config import CanarySettings, Job, LoraSettings, TrainConfig
from app.retrain.guards import Limits
from app.retrain.objectives import OBJECTIVES
from app.retrain.shaping import Shaping
from tests.parts import ROOT

PAGE = (ROOT / "docs" / "trainer.md").read_text(encoding="utf-8")

SECTIONS = {
    "": [name for name in Job.model_fields if name not in ("train", "canary")],
    "canary.": CanarySettings.model_fields,
    "train.": [n for n in TrainConfig.model_fields if n not in ("lora", "guards", "shaping")],
    "train.lora.": LoraSettings.model_fields,
    "train.guards.": Limits.__dataclass_fields__,
    "train.shaping.": Shaping.__dataclass_fields__,
}


@pytest.mark.parametrize(
    "key", [prefix + name for prefix, names in SECTIONS.items() for name in names]
)
def test_every_key_of_a_job_is_on_its_page(key):
    assert f"`{key}`" in PAGE


def test_the_page_names_no_other_key():
    named = set(re.findall(r"`((?:train|canary)\.[a-z_0-9.]+)`", PAGE))

    assert named <= {prefix + name for prefix, names in SECTIONS.items() for name in names}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_on_the_page(name):
    assert f"\n| `{name}` | " in PAGE
