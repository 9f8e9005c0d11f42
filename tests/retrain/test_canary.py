from __future__ import annotations

from dataclasses import replace

import pytest

from app.retrain.canary import check_canary, pick_rows
from app.retrain.config import CanarySettings
from app.retrain.examples import read_groups
from tests.retrain.tiny import make_groups, make_model, make_rows

pytestmark = pytest.mark.train


def test_the_weights_that_drew_the_rows_pass():
    model = make_model()
    groups = make_groups(model)

    found = check_canary(model, groups, "policy-0", CanarySettings())

    assert (found.rows, found.reason) == (64, "")
    assert found.tokens > 64
    assert found.mean == pytest.approx(0, abs=1e-6)
    assert found.mean <= found.p99


@pytest.mark.parametrize("drift", ["temperature", "prompt", "weights"])
def test_whatever_drifted_is_found(drift):
    rows = make_rows(make_model())
    model = make_model(seed=1) if drift == "weights" else make_model()
    if drift == "temperature":
        rows = [row | {"temperature": 0.3} for row in rows]
    if drift == "prompt":
        rows = [row | {"prompt_token_ids": [7, *row["prompt_token_ids"]]} for row in rows]

    found = check_canary(model, read_groups(rows), "policy-0", CanarySettings())

    assert found.mean > 0.05
    assert found.p99 > found.mean
    assert found.reason.startswith("log π of the parent differs from the logged µ by 0.")
    assert "canary.max_mean 0.05" in found.reason


def test_only_rows_of_the_parent_say_anything():
    """Rows of an older policy differ from the parent by what was trained in between."""
    model = make_model()
    older = [
        replace(group, examples=tuple(replace(e, policy="policy--1") for e in group.examples))
        for group in make_groups(make_model(seed=1), groups=2)
    ]

    assert check_canary(model, older, "policy-0", CanarySettings()).rows == 0
    assert check_canary(model, older, "", CanarySettings()).reason


def test_rows_are_spread_over_the_log():
    groups = make_groups(make_model())

    picked = pick_rows(groups, "policy-0", 16)

    assert [example.group for example in picked] == [group.id for group in groups]
    assert len(pick_rows(groups, "policy-0", 1000)) == 128
