"""A curve through labelled scores that needs few labels."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.voting.logistic import Cell, fit_line, sigmoid

cells = st.lists(
    st.builds(
        lambda rank, right, wrong: Cell(rank, right, right + wrong),
        st.floats(-8, 8),
        st.integers(0, 200),
        st.integers(0, 200),
    ),
    max_size=6,
)


def test_without_labels_the_score_is_believed_as_it_is():
    line = fit_line([], min_steepness=0.1)

    assert (line.a, line.b) == (0.0, 1.0)


def test_many_labels_overrule_the_prior():
    rng = random.Random(1)
    ranks = [i / 4 for i in range(-8, 9)]
    truth = {rank: sigmoid(-1.0 + 0.6 * rank) for rank in ranks}
    labelled = [Cell(r, sum(rng.random() < truth[r] for _ in range(4000)), 4000) for r in ranks]

    line = fit_line(labelled, min_steepness=0.1)

    assert (line.a, line.b) == (pytest.approx(-1.0, abs=0.05), pytest.approx(0.6, abs=0.05))


def test_labels_that_contradict_the_score_flatten_it_and_never_turn_it_over():
    line = fit_line([Cell(-2.0, 500, 500), Cell(2.0, 0, 500)], min_steepness=0.1)

    assert line.b == 0.1


@pytest.mark.parametrize("right", [0, 100_000])
def test_labels_that_all_agree_still_give_a_finite_line(right):
    line = fit_line([Cell(0.0, right, 100_000), Cell(700.0, right, 100_000)], min_steepness=0.1)

    assert math.isfinite(line.a)
    assert math.isfinite(line.b)


@given(cells)
def test_no_step_to_any_side_is_more_likely_than_the_fit(labelled):
    line = fit_line(labelled, min_steepness=0.1)

    for step_a, step_b in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        a, b = line.a + step_a, line.b + step_b
        if b >= 0.1:
            assert _log_posterior(labelled, a, b) <= line.log_posterior + 1e-9


def _log_posterior(labelled, a, b):
    likely = -(a**2) / 2 - 2 * (b - 1) ** 2
    for cell in labelled:
        z = a + b * cell.rank
        likely -= cell.right * math.log1p(math.exp(-z)) if z > -500 else -cell.right * z
        wrong = cell.total - cell.right
        likely -= wrong * math.log1p(math.exp(z)) if z < 500 else wrong * z
    return likely
