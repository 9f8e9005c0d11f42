"""What a labelled group says about the gain from voting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.group import Decision, Group, Tally
from app.plan import Reason
from app.routing.examples import DECIDES, ROUTER, example_of, gain_of, router_of
from tests.builders import a_group, a_plan, a_ref, a_scored, a_task, a_verdict


def decided(*scored, plan=None, winner=0, **changes) -> Group:
    group = a_group(*scored, plan=plan or a_plan())
    decision = Decision(status="agreed", winner=winner, returned=(winner,))
    return replace(group.with_decision(decision), **changes)


def votes(*keys, **plan) -> Group:
    return decided(*(a_scored(i, key) for i, key in enumerate(keys)), plan=a_plan(**plan))


@pytest.mark.parametrize(
    ("keys", "gain"),
    [
        (("42", "42", "42"), 0.0),
        (("42", "41", "42", "42"), 0.25),
        (("42", None, "41", "42"), 0.5),
    ],
)
def test_the_gain_is_the_share_of_samples_that_were_wrong_while_the_vote_was_right(keys, gain):
    assert gain_of(votes(*keys), right=True, truth="42") == gain


def test_a_vote_that_was_wrong_gained_nothing():
    assert gain_of(votes("41", "41", "42"), right=False, truth=None) == 0


def test_a_deep_vote_stands_for_the_truth():
    group = votes(*["42"] * 12, *["41"] * 4)

    assert gain_of(group, right=None, truth="42") == 0.25


def test_of_one_sample_nothing_is_known_unless_a_verifier_would_have_gone_on():
    checked = decided(a_scored(0, "42", a_verdict("pass")), plan=a_plan(verifiers=(a_ref(),)))

    assert gain_of(votes("42"), right=True, truth="42") is None
    assert gain_of(votes("42", "42", cap=1), right=True, truth="42") is None
    assert gain_of(checked, right=True, truth="42") == 0
    assert gain_of(decided(plan=a_plan()), right=None, truth=None) is None


def test_samples_that_were_cancelled_are_neither_right_nor_wrong():
    """The first pass ends the group: two wrong samples were drawn before it, one was cut off."""
    group = decided(
        a_scored(0, "40", a_verdict("fail")),
        a_scored(1, "41", a_verdict("fail")),
        a_scored(2, "42", a_verdict("pass")),
        a_scored(3, None, finish_reason=None, cancelled=True),
        winner=2,
    )

    assert gain_of(group, right=True, truth="42") == pytest.approx(2 / 3)


def test_another_wording_that_a_verifier_passed_is_right_too():
    group = decided(
        a_scored(0, "x+1", a_verdict("pass")),
        a_scored(1, "1+x", a_verdict("pass")),
        a_scored(2, "x", a_verdict("fail")),
    )

    assert gain_of(group, right=True, truth="x+1") == pytest.approx(1 / 3)


def test_in_a_cascade_it_is_about_the_stage_that_was_asked_first():
    first = decided(*(a_scored(i, key) for i, key in enumerate(("41", "42", "41"))))
    second = first.next_stage(a_plan(policy="big"))
    late = [a_scored(i, "42", stage=1) for i in (3, 4, 5)]
    group = (
        second.with_scored(*late)
        .with_tally(Tally(votes=(("42", 3),), leader="42", margin=3))
        .with_decision(Decision(status="agreed", winner=3, returned=(3,)))
    )

    assert gain_of(group, right=True, truth="42") == 0
    assert gain_of(group, right=True, truth="41") == pytest.approx(1 / 3)
    assert gain_of(group, right=False, truth=None) is None
    assert example_of(group, right=True, truth="42", source="label").policy == "smol"


def test_the_first_sample_that_was_checked_tells_the_pass_rate():
    group = decided(
        a_scored(0, "40", a_verdict("error")),
        a_scored(1, "41", a_verdict("fail")),
        a_scored(2, "42", a_verdict("pass")),
        winner=2,
    )

    assert example_of(group, right=True, truth="42", source="verifier").passed is False
    assert example_of(group, right=True, truth="42", source="label").passed is True
    assert example_of(group, right=None, truth="42", source="vote").passed is None


@pytest.mark.parametrize(
    ("standing", "explored", "source", "is_fair"),
    [
        ("shadow", False, "label", True),
        (DECIDES, False, "label", False),
        (DECIDES, True, "label", True),
    ],
)
def test_a_group_is_fair_unless_the_score_decided_how_it_was_drawn(
    standing, explored, source, is_fair
):
    reasons = (Reason(feature=ROUTER, value=standing, contribution=0.0),)
    group = votes("42", "42", "42", reasons=reasons, explored=explored)

    assert router_of(group.plan) == standing
    assert example_of(group, right=True, truth="42", source=source).is_fair is is_fair
    checked = replace(group, plan=replace(group.plan, verifiers=(a_ref(),)))
    assert example_of(checked, right=True, truth="42", source=source).is_fair


def test_without_text_or_without_a_choice_there_is_nothing_to_learn():
    group = votes("42", "42", "42")
    hashed = replace(group, task=a_task(content="hash"))
    off = votes("42", "42", "42", route="off")

    assert example_of(hashed, right=True, truth="42", source="label") is None
    assert example_of(off, right=True, truth="42", source="label") is None
    assert example_of(group, right=True, truth="42", source="label").gain == 0
