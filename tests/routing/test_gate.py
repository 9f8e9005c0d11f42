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
    SHARE_ON,
    Point,
    auc,
    cut,
    may_decide,
    rank_of,
)


def good(count: int = JUDGED_ON, is_fair: bool = True) -> list[Point]:
    """Half gain, and all of these score higher."""
    return [
        Point(0.1 + 0.8 * (i % 2) + i * 1e-6, float(i % 2), float(i % 2), is_fair)
        for i in range(count)
    ]


def chance(count: int = JUDGED_ON, is_fair: bool = True) -> list[Point]:
    draw = random.Random(5)
    return [Point(draw.random(), float(i % 2), float(i % 2), is_fair) for i in range(count)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)],
)
def test_auc_is_how_often_the_right_one_scores_higher(scores, expected):
    gains = (0.0, 0.0, 0.4, 1.0)

    assert auc([Point(s, g, g, True) for s, g in zip(scores, gains, strict=True)]) == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=25))
def test_auc_is_that_of_all_pairs(known):
    points = [Point(score / 5, float(gained), 0.0, True) for score, gained in known]
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
        Point(p.score if i > 75 else 1 - p.score, p.gain, p.gain, True)
        for i, p in enumerate(good())
    ]

    assert 0.6 <= auc(wobbling) < 0.65
    assert may_decide(wobbling, MIN_LABELS, decides=True)
    assert not may_decide(wobbling, MIN_LABELS, decides=False)
    assert not may_decide(chance(), MIN_LABELS, decides=True)


def stream(count: int = 300, *, loses_from: float = 2.0, sees: bool = False) -> list[Point]:
    """Scores all over 0..1 in any order; from one score on, one task in ten loses all."""
    draw = random.Random(2)
    points: list[Point] = []
    for _ in range(count):
        score = draw.random()
        gain = float(score >= loses_from and draw.random() < 0.1)
        loss = 0.0 if sees else gain
        points.append(Point(score, gain, loss, True, rank_of(score, points)))
    return points


def test_the_rank_of_a_score_is_its_place_among_the_newest_fair_ones():
    points = stream(SHARE_ON)

    assert rank_of(0.5, points) == pytest.approx(0.5, abs=0.15)
    assert (rank_of(-1, points), rank_of(2, points)) == (0, 1)
    assert rank_of(-1, points[1:]) == 1
    assert rank_of(0.5, [*points, *good(is_fair=False)]) == rank_of(0.5, points)


def test_at_most_the_easiest_third_is_cut_off():
    newest = stream()[-SHARE_ON:]
    below = sum(point.score < cut(stream(), 0.02) for point in newest)

    assert below == int(EASIEST * SHARE_ON)


def test_no_more_is_cut_off_than_would_have_been_lost():
    points = stream(loses_from=0.22)

    assert 0 < cut(points, 0.02) < 0.24 < cut(points, 1.0)
    assert cut(stream(loses_from=0.0), 0.02) == 0
    assert cut(points, 0.0) == 0


def test_what_a_verifier_would_have_seen_is_no_loss():
    assert cut(stream(loses_from=0.0, sees=True), 0.02) > 0.2


def test_the_third_is_that_of_the_newest_traffic():
    """Scores move while the model learns; where they fell, the cut falls with them."""
    fallen = [Point(p.score / 10, 0.0, 0.0, True, p.rank) for p in stream(SHARE_ON)]

    assert cut([*stream(), *fallen], 0.02) < 0.05 < 0.2 < cut(stream(), 0.02)


def test_points_that_do_not_count_do_not_move_the_cut():
    assert cut([*stream(), *good(300, is_fair=False)], 0.02) == cut(stream(), 0.02)
    assert cut(stream(SHARE_ON - 1), 0.02) == 0
