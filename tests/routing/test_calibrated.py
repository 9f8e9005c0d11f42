"""From scores to expected gains."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.calibrated import ISOTONIC_FROM, Breakpoints, calibrate_gain

points = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=60)


def test_nothing_is_expected_where_nothing_is_known():
    assert calibrate_gain([]).at(0.5) is None


@given(points | points.map(lambda few: few * 10), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_never_means_less_gain(known, a, b):
    calibrated = calibrate_gain(known)
    low, high = calibrated.at(min(a, b)), calibrated.at(max(a, b))

    if known:
        assert 0 <= low <= high + 1e-12
        assert high <= 1 + 1e-12


@given(points)
def test_the_order_of_the_points_does_not_matter(known):
    shuffled = known[:]
    random.Random(0).shuffle(shuffled)

    assert calibrate_gain(shuffled) == calibrate_gain(known)


@pytest.mark.parametrize("count", [100, ISOTONIC_FROM, 4000])
def test_what_is_expected_comes_true(count):
    """Scores that are off by a factor: the gain is a third of the score."""
    draw = random.Random(1)
    scores = [draw.random() for _ in range(count)]
    calibrated = calibrate_gain((s, float(draw.random() < s / 3)) for s in scores)

    for score in (0.2, 0.5, 0.8):
        assert calibrated.at(score) == pytest.approx(score / 3, abs=0.11)


def test_isotonic_means_are_those_of_the_pooled_neighbours():
    known = [(0.1, 0.0), (0.2, 1.0), (0.3, 0.0), (0.4, 1.0)] * (ISOTONIC_FROM // 4)
    calibrated = calibrate_gain(known)

    assert [calibrated.at(s) for s in (0.1, 0.2, 0.3, 0.4)] == [0.0, 0.5, 0.5, 1.0]
    assert calibrated.at(0.15) == pytest.approx(0.25)


def test_few_points_are_drawn_towards_their_mean():
    known = [(0.1, 0.0)] * 5 + [(0.9, 1.0)] * 5
    calibrated = calibrate_gain(known)

    assert 0 < calibrated.at(0.0) < 0.5 < calibrated.at(1.0) < 1


def test_breakpoints_survive_their_state():
    calibrated = calibrate_gain([(0.1, 0.0), (0.5, 0.3), (0.7, 1.0)])

    assert Breakpoints.from_state(calibrated.to_state()) == calibrated
