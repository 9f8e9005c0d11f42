"""Two small groups whose exported forms are kept in `golden/`."""

from __future__ import annotations

from typing import Any

import pytest

from app.retrain.config import TrainConfig
from app.retrain.examples import Example, read_groups
from app.retrain.plan import Row, Unit


def examples(temperature: float = 1.0) -> list[Example]:
    def row(group: str, sample: int, ids: list[int], mu: list[float] | None) -> dict[str, Any]:
        return {
            "trace_id": group,
            "sample": sample,
            "policy": "policy-1",
            "prompt_token_ids": [11, 12] if group == "a" else [13],
            "token_ids": ids,
            "logprobs": mu,
            "trainable": mu is not None,
            "temperature": temperature,
            "reward": 1.0 - sample,
        }

    rows = [
        row("a", 0, [21, 22, 1], [-0.5, -0.25, -0.125]),
        row("a", 1, [23, 1], [-1.5, -0.5]),
        row("b", 0, [24, 1], None),
        row("b", 1, [25], [-2.0]),
    ]
    return [example for group in read_groups(rows) for example in group.examples]


def units(temperature: float = 1.0) -> tuple[tuple[Unit, ...], ...]:
    a0, a1, b0, b1 = examples(temperature)
    return (
        (
            (Row(example=a0, advantage=0.5, group=0),),
            (Row(example=a1, advantage=-0.5, group=0),),
        ),
        (
            (Row(example=b0, advantage=0.5, group=1, weight=2.0),),
            (Row(example=b1, advantage=-0.5, group=1, weight=2.0),),
        ),
    )


@pytest.fixture
def cfg() -> TrainConfig:
    settings = {"name": "policy-2", "groups_per_step": 1, "epochs": 1, "token_budget": 12}
    return TrainConfig.model_validate(settings)
