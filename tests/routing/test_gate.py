"""When a learned score may decide, and for how many tasks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.gate import (
    EASIEST,
    JUDGED_ON,
    MIN_LABELS,
    Point,
    auc,
    cut,
    may_decide,
)


def good(count: int = JUDGED_ON, is_fair: bool = True) -> list[Point]:
    """Half gain, and all of these score higher."""
    return [Point(0.1 + 0.8 * (i % 2) + i * 1e-6, float(i % 2), is_fair) for i in range(count)]


def chance(count: int = JUDGED_ON, is_fair: bool = True) -> list[Point]:
    draw = random.Random(5)
    return [Point(draw.random(), float(i % 2), is_fair) for i in range(count)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)],
)
def test_auc_is_how_often_the_right_one_scores_higher(scores, expected):
    gains = (0.0, 0.0, 0.4, 1.0)

    assert auc([Point(s, g, True) for s, g in zip(scores, gains, strict=True)]) == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=25))
def test_auc_is_that_of_all_pairs(known):
    points = [Point(score / 5, float(gained), True) for score, gained in known]
    up = [p.score for p in points if p.gain]
    down = [p.score for p in points if not p.gain]
    pairs = [(a > b) + (a == b) / 2 for a in up for b in down]

    assert auc(points) == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


def test_a_score_may_decide_once_it_has_labels_enough_and_orders_well():
    assert may_decide(good(), MIN_LABELS, decides=False)
    assert not may_decide(good(), MIN_LABELS - 1, decides=False)
    assert not may_decide(good(JUDGED_ON - 1), MIN_LABELS, decides=False)
    assert not may_decide(chance(), MIN_LABELS, decides=False)


def test_only_the_newest_fair_points_are_looked_at():
    assert may_decide([*chance(), *good()], MIN_LABELS, decides=False)
    assert not may_decide([*good(), *chance()], MIN_LABELS, decides=False)
    assert may_decide([*good(), *chance(is_fair=False)], MIN_LABELS, decides=False)


def test_a_score_that_decides_is_not_dropped_for_a_wobble():
    """Of 200 points 30 are the wrong way round: between the two bounds."""
    wobbling = [
        Point(p.score if i > 75 else 1 - p.score, p.gain, True) for i, p in enumerate(good())
    ]

    assert 0.6 <= auc(wobbling) < 0.65
    assert may_decide(wobbling, MIN_LABELS, decides=True)
    assert not may_decide(wobbling, MIN_LABELS, decides=False)
    assert not may_decide(chance(), MIN_LABELS, decides=True)


def test_at_most_the_easiest_third_is_cut_off():
    points = [Point(i / 300, 0.0, True) for i in range(300)]

    assert cut(points, 0.02) == pytest.approx(EASIEST, abs=0.01)


def test_no_more_is_cut_off_than_may_be_lost():
    points = [Point(i / 300, float(i >= 60 and i % 10 == 0), True) for i in range(300)]

    assert cut(points, 0.02) == pytest.approx(60 / 300, abs=0.02)
    assert cut(points, 1.0) == pytest.approx(EASIEST, abs=0.01)
    assert cut(points, 0.0) == 0


def test_equal_scores_are_not_told_apart():
    points = [Point(0.2, 0.0, True)] * 200 + [Point(0.6, 1.0, True)] * 100

    assert cut(points, 0.5) == 0
    assert cut(points[60:], 1.0) == 0


def test_unfair_points_do_not_move_the_cut():
    fair = [Point(i / 300, 0.0, True) for i in range(300)]

    assert cut([*fair, *good(300, is_fair=False)], 0.02) == cut(fair, 0.02)
    assert cut([], 0.02) == 0
