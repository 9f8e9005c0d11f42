"""A pass rate that moves is noticed, one that holds still is left in peace."""

from __future__ import annotations

import random

import pytest

from app.routing.drift import FEWEST, PageHinkley


def alarm_after(*rates: tuple[float, int], seed: int = 0) -> int | None:
    """Values until the alarm, over stretches of (pass rate, values)."""
    draw, watch, count = random.Random(seed), PageHinkley(), 0
    for rate, length in rates:
        for _ in range(length):
            watch = watch.after(float(draw.random() < rate))
            count += 1
            if watch.has_moved:
                return count
    return None


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_rate_that_holds_still_raises_no_alarm(rate, seed):
    assert alarm_after((rate, 1000), seed=seed) is None


@pytest.mark.parametrize(("before", "after"), [(0.8, 0.4), (0.9, 0.6), (0.4, 0.8), (1.0, 0.5)])
@pytest.mark.parametrize("seed", range(3))
def test_a_rate_that_moves_far_is_noticed_soon(before, after, seed):
    noticed = alarm_after((before, 300), (after, 300), seed=seed)

    assert noticed is not None
    assert 300 < noticed <= 450


def test_there_is_no_alarm_before_the_mean_is_known():
    assert alarm_after((0.0, 5), (1.0, FEWEST - 6)) is None


def test_it_goes_on_from_its_state():
    watch = PageHinkley().after(1.0).after(0.0).after(1.0)

    assert PageHinkley.from_state(watch.to_state()) == watch
