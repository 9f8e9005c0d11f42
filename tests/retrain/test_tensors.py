from __future__ import annotations

import pytest
import torch

from app.retrain.examples import read_groups
from app.retrain.plan import Row
from app.retrain.tensors import make_batch, make_filling
from tests.retrain.tiny import make_row

pytestmark = pytest.mark.train


def rows() -> list[Row]:
    short = make_row("a", 0, [2, 3, 4], [5], 1.0) | {"logprobs": [-0.5]}
    long = make_row("a", 1, [2, 3, 4], [6, 7], 0.0) | {"trainable": False}
    other = make_row("b", 0, [9], [8, 8], 1.0) | {"logprobs": [-1.0, -2.0]}
    (a, b) = read_groups([short, long, other])
    return [
        Row(example=a.examples[0], advantage=0.5, group=0, weight=2.0),
        Row(example=a.examples[1], advantage=-0.5, group=0, weight=2.0),
        Row(example=b.examples[0], advantage=(0.25, -0.25), group=1),
    ]


def test_every_tensor_speaks_about_the_token_at_its_place():
    batch = make_batch(rows())

    assert batch.ids.tolist() == [[2, 3, 4, 5, 0], [2, 3, 4, 6, 7], [9, 8, 8, 0, 0]]
    assert batch.lengths.tolist() == [4, 5, 3]
    assert batch.completion.int().tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 1, 1], [0, 1, 1, 0, 0]]
    assert batch.mu.tolist() == [[0, 0, 0, -0.5, 0], [0] * 5, [0, -1, -2, 0, 0]]
    assert batch.mu_known.any(1).tolist() == [True, False, True]
    assert batch.advantages[0].tolist() == [0, 0, 0, 0.5, 0]
    assert batch.advantages[2].tolist() == [0, 0.25, -0.25, 0, 0]
    assert batch.weighted[0, 3] == 1.0
    assert batch.group.tolist() == [0, 0, 1]
    assert batch.temperature.tolist() == pytest.approx([0.8, 1.0, 0.8])
    assert batch.first == 1


def test_a_batch_moves_whole():
    moved = make_batch(rows()).to("meta")

    assert {
        getattr(moved, name).device.type
        for name in moved.__dataclass_fields__
        if isinstance(getattr(moved, name), torch.Tensor)
    } == {"meta"}
    assert moved.first == 1


def test_a_filling_has_nothing_to_learn_from():
    batch = make_filling(rows()[0])

    assert not batch.completion.any()
    assert batch.weighted.abs().sum() == 0
