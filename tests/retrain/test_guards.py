from __future__ import annotations

import math
from typing import Any

import pytest

from app.retrain.guards import Guards, Limits, Measured


def measured(**changes: Any) -> Measured:
    usual = {
        "step": 0,
        "loss": 0.1,
        "reward": 0.5,
        "entropy": 2.0,
        "m2": 0.001,
        "kl": 0.001,
        "ess": 0.99,
        "grad_norm": 1.0,
        "lr": 1e-5,
        "tokens": 100,
        "rows": 8,
        "groups": 1,
    }
    return Measured(**{**usual, **changes})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"m2": 0.11}, "M2 0.11 is above guards.m2_stop 0.1"),
        ({"ess": 0.2}, "ESS 0.2 is below guards.ess_stop 0.3"),
        ({"kl": 0.06}, "KL 0.06 is above guards.kl_budget 0.05"),
        ({"loss": math.nan}, "the loss is nan and the gradient's norm 1.0"),
        ({"grad_norm": math.inf}, "the loss is 0.1 and the gradient's norm inf"),
        ({"m2": None, "kl": None, "ess": None}, ""),
        ({}, ""),
    ],
)
def test_a_step_beyond_a_bound_is_stopped_with_the_reason(change, said):
    assert Guards(Limits(kl_budget=0.05)).check(measured(**change)) == said


def test_bounds_that_are_off_stop_nothing():
    off = Limits(m2_stop=None, ess_stop=None, entropy_drop=None, grad_spike=None)

    assert Guards(off).check(measured(m2=9.0, ess=0.0, kl=9.0)) == ""


def test_m2_raises_an_alarm_before_it_stops():
    guards = Guards(Limits())

    assert guards.alarms(measured(m2=0.05)) == ("M2 0.05 is above 0.04",)
    assert guards.check(measured(m2=0.05)) == ""
    assert guards.alarms(measured(m2=0.03)) == ()


def test_entropy_that_halves_stops_and_one_low_step_does_not():
    guards = Guards(Limits())

    reasons = [guards.check(measured(entropy=e)) for e in [2.0] * 9 + [0.5] + [2.0] + [0.9] * 5]

    assert reasons[:-2] == [""] * 14
    assert reasons[-1] == "entropy fell from 2 to 0.9, by more than guards.entropy_drop 0.5"


def test_a_gradient_far_above_its_median_stops():
    guards = Guards(Limits())

    reasons = [guards.check(measured(grad_norm=n)) for n in [50.0, *[1.0] * 10, 4.9, 5.1]]

    assert reasons[:-1] == [""] * 12
    assert reasons[-1] == (
        "the gradient's norm 5.1 is above guards.grad_spike 5 times its median 1"
    )
