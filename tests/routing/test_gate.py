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
    ladder,
    may_decide,
    rank_of,
)


def good(count: int = JUDGED_ON, is_fair: bool = True) -> list[Point]:
    """Half gain, and all of these score higher."""
    return [
        Point(0.1 + 0.8 * (i % 2) + i * 1e-6, float(i % 2), False, is_fair) for i in range(count)
    ]


def chance(count: int = JUDGED_ON, is_fair: bool = True) -> list[Point]:
    draw = random.Random(5)
    return [Point(draw.random(), float(i % 2), False, is_fair) for i in range(count)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)],
)
def test_auc_is_how_often_the_right_one_scores_higher(scores, expected):
    gains = (0.0, 0.0, 0.4, 1.0)

    assert auc([Point(s, g, False, True) for s, g in zip(scores, gains, strict=True)]) == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=25))
def test_auc_is_that_of_all_pairs(known):
    points = [Point(score / 5, float(gained), False, True) for score, gained in known]
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
        Point(p.score if i > 75 else 1 - p.score, p.gain, False, True) for i, p in enumerate(good())
    ]

    assert 0.6 <= auc(wobbling) < 0.65
    assert may_decide(wobbling, MIN_LABELS, decides=True)
    assert not may_decide(wobbling, MIN_LABELS, decides=False)
    assert not may_decide(chance(), MIN_LABELS, decides=True)


def stream(count: int = 300, *, loses_from: float = 2.0, is_decisive: bool = False) -> list[Point]:
    """Scores all over 0..1 in any order; from one score on, one task in ten gains all."""
    draw = random.Random(2)
    points: list[Point] = []
    for _ in range(count):
        score, gains = draw.random(), draw.random() < 0.1
        rank = rank_of(score, points, is_decisive=is_decisive)
        gain = float(score >= loses_from and gains)
        points.append(Point(score, gain, is_decisive, True, rank))
    return points


def share_of(points: list[Point], max_loss: float = 0.02, *, is_decisive: bool = False) -> float:
    return ladder(points, max_loss, is_decisive=is_decisive).share


def test_the_rank_of_a_score_is_its_place_among_the_newest_fair_ones_of_its_kind():
    points = stream(SHARE_ON)

    def rank(score: float, before: list[Point]) -> float:
        return rank_of(score, before, is_decisive=False)

    assert rank(0.5, points) == pytest.approx(0.5, abs=0.15)
    assert (rank(-1, points), rank(2, points)) == (0, 1)
    assert rank(-1, points[1:]) == 1
    assert rank(0.5, [*points, *good(is_fair=False)]) == rank(0.5, points)
    assert rank_of(-1, points, is_decisive=True) == 1


def test_at_most_the_easiest_third_is_sent_to_one_sample():
    of_all = ladder(stream(), 0.02, is_decisive=False)
    sent = sum(of_all.rank(point.score) < of_all.share for point in stream())

    assert of_all.share == pytest.approx(EASIEST, abs=0.01)
    assert sent / 300 == pytest.approx(EASIEST, abs=0.1)


def test_no_more_are_sent_than_lost_too_little_to_matter():
    points = stream(1000, loses_from=0.15)

    assert 0 < share_of(points) < share_of(points, 1.0)
    assert share_of(stream(loses_from=0.0)) == 0
    assert share_of(points, 0.0) == 0


def test_what_a_verifier_would_have_seen_is_no_loss():
    points = stream(loses_from=0.0, is_decisive=True)

    assert share_of(points, is_decisive=True) == share_of(stream())
    assert share_of(points, 0.0, is_decisive=True) == 0


def test_tasks_with_a_verifier_say_nothing_about_those_without():
    """One sample that is refuted costs a round; one that nobody checks is served."""
    assert share_of(stream(is_decisive=True)) == 0
    assert share_of(stream(), is_decisive=True) == 0
    assert share_of([*stream(is_decisive=True), *stream()]) == share_of(stream())


def test_the_easiest_are_those_of_the_newest_traffic():
    """Scores move while the model learns; where they fell, the ranks are those of today."""
    fallen = [Point(p.score / 10, 0.0, False, True, p.rank) for p in stream(SHARE_ON)]
    of_all = ladder([*stream(), *fallen], 0.02, is_decisive=False)

    assert of_all.rank(0.09) > of_all.share


def test_points_that_do_not_count_do_not_change_it():
    of_all = ladder(stream(), 0.02, is_decisive=False)

    assert ladder([*stream(), *good(300, is_fair=False)], 0.02, is_decisive=False) == of_all
    assert share_of(stream(SHARE_ON - 1)) == 0
