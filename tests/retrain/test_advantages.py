from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.retrain.advantages import (
    centred,
    difficulty_weights,
    is_mixed,
    linear_length,
    soft_overlong,
    standardised,
    with_steps,
)

rewards = st.lists(st.floats(0, 1), min_size=2, max_size=16)


def test_centred_is_the_distance_from_the_mean():
    assert centred([1.0, 0.0, 0.0, 1.0, 0.5]) == pytest.approx((0.5, -0.5, -0.5, 0.5, 0.0))


def test_standardised_divides_by_the_sample_deviation():
    found = standardised([1.0, 0.0, 0.0, 0.0])

    assert found == pytest.approx((0.75 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001, -0.25 / 0.5001))


@pytest.mark.parametrize("compare", [centred, standardised])
def test_samples_that_do_not_differ_have_no_advantage(compare):
    assert compare([0.3, 0.3 + 1e-9, 0.3]) == (0.0, 0.0, 0.0)
    assert compare([1.0]) == (0.0,)


@given(rewards)
def test_advantages_cancel(values):
    assert sum(centred(values)) == pytest.approx(0, abs=1e-9)
    assert is_mixed(values) == any(centred(values)) == any(standardised(values))


def test_only_what_is_too_long_is_punished():
    found = soft_overlong([1.0] * 5, [10, 80, 90, 100, 300], max_tokens=100, buffer_tokens=20)

    assert found == pytest.approx((1.0, 1.0, 0.5, 0.0, 0.0))


def test_length_costs_what_the_group_is_worth():
    assert linear_length([1.0, 1.0, 0.0, 0.0], [50, 100, 100, 100]) == pytest.approx(
        (0.75, 0.5, -0.5, -0.5)
    )
    assert linear_length([0.0, 0.0], [50, 100]) == (0.0, 0.0)


def test_groups_of_even_odds_weigh_most_and_the_mean_is_one():
    found = difficulty_weights([0.5, 0.125, 1.0])

    assert statistics.fmean(found) == pytest.approx(1)
    assert found == pytest.approx((2.087, 0.913, 0.0), abs=1e-3)
    assert difficulty_weights([1.0, 0.0]) == (1.0, 1.0)
    assert difficulty_weights([]) == ()


def test_a_step_holds_for_its_own_tokens_only():
    """Mean of all steps is 0.5: the right one adds, the wrong one takes, the tail is untouched."""
    right, wrong = with_steps([0.5, -0.5], [4, 3], [[1.0, 0.0], [0.5]], [[1, 3], [3]], weight=0.2)

    assert right == pytest.approx((0.6, 0.4, 0.4, 0.5))
    assert wrong == pytest.approx((-0.5, -0.5, -0.5))


def test_without_places_the_mean_of_the_steps_holds_everywhere():
    first, second = with_steps([0.5, -0.5], [2, 2], [[1.0, 1.0], [0.0]], [[], []], weight=0.3)

    assert first == pytest.approx((0.6, 0.6))
    assert second == pytest.approx((-0.7, -0.7))


def test_without_steps_the_outcome_is_all():
    assert with_steps([0.5], [2], [[]], [[]], weight=1.0) == ((0.5, 0.5),)


@given(
    outcome=st.floats(-1, 1),
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=5),
    weight=st.floats(0, 100),
)
def test_steps_never_turn_the_outcome_round(outcome, scores, weight):
    """However much weight they get, a wrong answer with right steps is not worth repeating."""
    ends = list(range(1, len(scores) + 1))

    (tokens,) = with_steps([outcome], [len(scores)], [scores], [ends], weight=weight)

    assert all(token * outcome >= 0 for token in tokens)
    assert all(abs(token) >= 0.49 * abs(outcome) for token in tokens)
