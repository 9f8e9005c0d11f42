"""Of what is served, no more is wrong than the route allows, with 95 % confidence."""

from __future__ import annotations

import math
import random

import pytest

from app.voting.confidence import Calibration, Evidence, confidence, fit_calibration
from app.voting.guarantee import LEVEL, is_rejected, threshold

THREE = Evidence(n=3, a=3, b=0, distinct=1, nulls=0)
FOUR_ONE = Evidence(n=5, a=4, b=1, distinct=2, nulls=0)
SIX_FIVE = Evidence(n=16, a=6, b=5, distinct=4, nulls=0)
SHARES = {THREE: 0.7, FOUR_ONE: 0.2, SIX_FIVE: 0.1}


def labels(*rows: tuple[Evidence, int, int]) -> Calibration:
    """Evidence, how many of its answers are right, and how many there are."""
    return fit_calibration(
        (evidence, i < right) for evidence, right, total in rows for i in range(total)
    )


def served(calibration: Calibration, max_error: float) -> set[Evidence]:
    needed = threshold(calibration, max_error)
    return {e for e in SHARES if needed is not None and confidence(e, calibration) >= needed}


def test_only_what_is_sure_enough_is_served():
    calibration = labels((THREE, 345, 350), (FOUR_ONE, 90, 100), (SIX_FIVE, 20, 50))

    assert served(calibration, 0.04) == {THREE}
    assert served(calibration, 0.08) == {THREE, FOUR_ONE}
    assert served(calibration, 0.20) == {THREE, FOUR_ONE, SIX_FIVE}


def test_nothing_is_served_where_nothing_is_sure_enough():
    assert threshold(labels((THREE, 400, 500)), 0.1) is None


def test_without_labels_nothing_can_be_promised():
    assert threshold(None, 0.5) is None
    assert threshold(labels(), 0.5) is None


@pytest.mark.parametrize("labelled", [10, 50, 71])
def test_too_few_labels_promise_nothing_even_when_all_are_right(labelled):
    """Seventy-one of seventy-one are less than 97.5 % sure to be under 5 % wrong."""
    assert threshold(labels((THREE, labelled, labelled)), 0.05) is None


def test_no_error_at_all_cannot_be_promised():
    assert threshold(labels((THREE, 500, 500)), 0.0) is None


def test_only_the_last_labels_count():
    old = [(THREE, False)] * 500
    new = [(THREE, True)] * 500

    assert threshold(fit_calibration(old + new), 0.05) is not None
    assert threshold(fit_calibration(new + old), 0.05) is None


def test_proofs_are_no_part_of_the_promise():
    proven = Evidence(n=1, a=1, b=0, distinct=1, nulls=0, proven=True)

    assert threshold(labels((proven, 500, 500)), 0.05) is None


@pytest.mark.parametrize(
    ("wrong", "total", "max_error"), [(0, 73, 0.05), (1, 110, 0.05), (15, 500, 0.05), (3, 90, 0.1)]
)
def test_the_test_is_the_exact_binomial_one(wrong, total, max_error):
    tail = sum(
        math.comb(total, i) * max_error**i * (1 - max_error) ** (total - i)
        for i in range(wrong + 1)
    )

    assert is_rejected(wrong, total, max_error) == (tail <= LEVEL)


@pytest.mark.parametrize(
    ("right", "max_error"),
    [
        ({THREE: 0.949, FOUR_ONE: 0.949, SIX_FIVE: 0.949}, 0.05),
        ({THREE: 0.949, FOUR_ONE: 0.7, SIX_FIVE: 0.3}, 0.05),
        ({THREE: 0.97, FOUR_ONE: 0.87, SIX_FIVE: 0.4}, 0.05),
        ({THREE: 0.88, FOUR_ONE: 0.91, SIX_FIVE: 0.91}, 0.1),
    ],
    ids=["all just too bad", "best just too bad", "best good, next not", "upside down"],
)
def test_the_promise_is_broken_in_at_most_five_of_a_hundred_logs(right, max_error):
    """Each log has 300 labels; what it would then serve is judged by the true error rate."""
    broken = 0
    for seed in range(200):
        rng = random.Random(seed)
        drawn = rng.choices(list(SHARES), list(SHARES.values()), k=300)
        calibration = fit_calibration((e, rng.random() < right[e]) for e in drawn)
        kept = served(calibration, max_error)
        share = sum(SHARES[e] for e in kept)
        wrong = sum(SHARES[e] * (1 - right[e]) for e in kept)
        broken += bool(kept) and wrong / share > max_error

    assert broken <= 0.05 * 200


def test_a_good_route_is_served():
    """A promise that is kept by serving nothing is worth nothing."""
    right = {THREE: 0.985, FOUR_ONE: 0.9, SIX_FIVE: 0.5}
    answered = 0
    for seed in range(50):
        rng = random.Random(seed)
        drawn = rng.choices(list(SHARES), list(SHARES.values()), k=500)
        calibration = fit_calibration((e, rng.random() < right[e]) for e in drawn)
        answered += THREE in served(calibration, 0.05)

    assert answered >= 45
