"""Canonicalise, then count; what may vote and what only costs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.group import Tally
from app.voting.tally import tally_votes
from tests.builders import a_scored, a_verdict


def test_votes_are_counted_per_answer_and_the_leader_is_ahead_by_the_margin():
    tally = tally_votes([a_scored(0, "42"), a_scored(1, "41"), a_scored(2, "42")])

    assert tally == Tally(votes=(("42", 2), ("41", 1)), leader="42", runner_up="41", margin=1)


def test_a_tie_has_no_leader():
    tally = tally_votes([a_scored(0, "42"), a_scored(1, "41")])

    assert (tally.leader, tally.margin) == (None, 0)


@pytest.mark.parametrize(
    "silent",
    [
        a_scored(9, "7", finish_reason="length"),
        a_scored(9, "7", finish_reason=None),
        a_scored(9, "7", finish_reason=None, cancelled=True),
        a_scored(9, "7", finish_reason="content_filter"),
        a_scored(9, None),
        a_scored(9, "7", a_verdict("fail")),
        a_scored(9, "7", a_verdict("fail", role="gate", decisive=False)),
        a_scored(9, "7", a_verdict("fail", role="policy", decisive=False)),
    ],
    ids=["truncated", "cut", "cancelled", "filtered", "no_answer", "refuted", "gate", "policy"],
)
def test_a_sample_that_is_not_whole_or_not_standing_costs_but_does_not_vote(silent):
    tally = tally_votes([a_scored(0, "42"), silent])

    assert tally.votes == (("42", 1),)


@pytest.mark.parametrize("status", ["abstain", "error"])
def test_a_sample_that_could_not_be_checked_still_votes(status):
    tally = tally_votes([a_scored(0, "42", a_verdict(status))])

    assert tally.votes == (("42", 1),)


def test_once_a_sample_is_proven_only_passing_samples_vote():
    tally = tally_votes(
        [
            a_scored(0, "41", a_verdict("abstain")),
            a_scored(1, "41", a_verdict("error")),
            a_scored(2, "42", a_verdict("pass")),
        ]
    )

    assert tally == Tally(votes=(("42", 1),), leader="42", runner_up=None, margin=1)


def test_a_pass_that_proves_nothing_silences_nobody():
    tally = tally_votes([a_scored(0, "41"), a_scored(1, "42", a_verdict("pass", decisive=False))])

    assert dict(tally.votes) == {"41": 1, "42": 1}


_scored = st.builds(
    lambda key, status, finish: (key, status, finish),
    st.sampled_from(["1", "2", "3", None]),
    st.sampled_from(["pass", "fail", "abstain", "error", None]),
    st.sampled_from(["stop", "length", None]),
)


@given(st.lists(_scored, max_size=5))
def test_the_tally_does_not_depend_on_the_order_of_arrival(rows):
    scored = [
        a_scored(i, key, *([a_verdict(status)] if status else []), finish_reason=finish)
        for i, (key, status, finish) in enumerate(rows)
    ]

    tallies = {tally_votes(order) for order in itertools.permutations(scored)}

    assert len(tallies) == 1
