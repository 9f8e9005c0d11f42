"""How many to draw next, and when to stop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.group import Group
from app.plan import Draw
from app.voting.stop import Stop, next_step, settled_by
from tests.builders import a_group, a_plan, a_scored, a_task, a_verdict


def test_a_hard_task_begins_with_the_whole_margin_at_once():
    step = next_step(a_group(), seed=5)

    assert step == Draw(round=1, n=3, first_index=0, seed=5)


@pytest.mark.parametrize(
    ("keys", "drawn"),
    [
        (["42", "42", "41"], 2),
        (["42", "41", "40"], 3),
        (["42", "42", "42", "41"], 1),
        ([None, None, None], 3),
        (["42", "42", None], 1),
    ],
)
def test_the_next_round_draws_the_deficit_to_the_margin(keys, drawn):
    group = a_group(*(a_scored(i, key) for i, key in enumerate(keys)))

    step = next_step(group, seed=0)

    assert isinstance(step, Draw)
    assert (step.n, step.first_index, step.round) == (drawn, len(keys), 2)


def test_three_ahead_is_enough():
    group = a_group(*(a_scored(i, "42") for i in range(3)))

    assert next_step(group, seed=0) == Stop(reason="margin")


def test_a_decisive_pass_ends_the_group_at_once():
    group = a_group(a_scored(0, "41", a_verdict("fail")), a_scored(1, "42", a_verdict("pass")))

    assert next_step(group, seed=0) == Stop(reason="verified")
    assert settled_by(group, in_flight=1) == "verified"


def test_a_pass_beside_a_failed_gate_ends_nothing():
    gate = a_verdict("fail", role="gate", decisive=False)
    group = a_group(a_scored(0, "42", a_verdict("pass"), gate))

    assert isinstance(next_step(group, seed=0), Draw)


def test_no_round_goes_past_the_cap():
    group = a_group(*(a_scored(i, str(i)) for i in range(4)), plan=a_plan(cap=5))

    step = next_step(group, seed=0)

    assert isinstance(step, Draw)
    assert step.n == 1


def test_the_cap_stops_an_undecided_vote():
    group = a_group(*(a_scored(i, str(i)) for i in range(4)), plan=a_plan(cap=4))

    assert next_step(group, seed=0) == Stop(reason="cap")


def test_a_leader_that_cannot_be_overtaken_before_the_cap_stops_the_round():
    scored = [a_scored(0, "42"), a_scored(1, "42"), a_scored(2, "41"), a_scored(3, "42")]
    group = a_group(*scored, plan=a_plan(cap=5))

    assert settled_by(group, in_flight=1) == "ahead"
    assert settled_by(a_group(*scored, plan=a_plan(cap=6)), in_flight=1) is None


def test_an_easy_task_takes_one_sample():
    plan = a_plan(route="easy", first_round=1, cap=1)

    assert next_step(a_group(plan=plan), seed=0) == Draw(round=1, n=1, first_index=0, seed=0)
    assert next_step(a_group(a_scored(0, None), plan=plan), seed=0) == Stop(reason="single")


def test_an_easy_task_goes_on_when_its_sample_is_refuted():
    plan = a_plan(route="easy", first_round=1, cap=8)
    group = a_group(a_scored(0, "41", a_verdict("fail")), plan=plan)

    step = next_step(group, seed=0)

    assert isinstance(step, Draw)
    assert step.n == 3


def test_as_many_samples_end_as_choices_were_asked_for():
    group = a_group(a_scored(0, "42", a_verdict("pass")), task=a_task(choices=2))

    assert settled_by(group, in_flight=1) is None


def test_a_missing_sample_leaves_its_index_unused():
    group = a_group(a_scored(0, "42"), a_scored(2, "42"))

    step = next_step(group, seed=0)

    assert isinstance(step, Draw)
    assert step.first_index == 3


@given(st.lists(st.sampled_from(["1", "2", "3", None]), max_size=40), st.integers(3, 40))
def test_drawing_always_ends_at_or_before_the_cap(keys, cap):
    """Whatever the answers are, the rounds add up to no more than the cap."""
    stream = iter(keys + ["1"] * 40)
    group: Group = a_group(plan=a_plan(cap=cap, first_round=min(3, cap)))
    while isinstance(step := next_step(group, seed=0), Draw):
        new = [a_scored(step.first_index + i, next(stream)) for i in range(step.n)]
        group = a_group(*group.scored, *new, plan=group.plan)

    assert len(group.scored) <= cap
    assert step.reason in ("margin", "ahead", "cap")


@given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=12), st.integers(0, 6))
def test_stopping_early_never_changes_the_leader_at_the_cap(keys, in_flight):
    """`ahead` and `margin` mean that no completion of the round makes somebody else the leader."""
    plan = a_plan(cap=len(keys) + in_flight, margin=in_flight + 1)
    group = a_group(*(a_scored(i, key) for i, key in enumerate(keys)), plan=plan)
    if settled_by(group, in_flight=in_flight) is None:
        return
    for rival in ("1", "2", "3", "4"):
        more = [a_scored(len(keys) + i, rival) for i in range(in_flight)]
        full = a_group(*group.scored, *more, plan=plan)

        assert full.tally.leader == group.tally.leader
