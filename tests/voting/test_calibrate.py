"""The labelled log → calibrations: who is believed, and about what."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from app.group import Decision, Group
from app.voting.calibrate import calibrations_from
from app.voting.confidence import MIN_LABELS, WINDOW, Calibration, confidence, evidence_of
from app.voting.decide import decide
from tests.builders import a_group, a_plan, a_ref, a_scored, a_task, a_verdict
from verifiers.base import AnswerContract


@dataclass(frozen=True)
class Known:
    group: Group
    right: bool | None
    truth: str | None = None
    source: str = "label"


def a_trace(number: int, *keys: str | None, verdicts=(), **plan) -> Group:
    drawn = [a_scored(i, key, *verdicts) for i, key in enumerate(keys)]
    task = a_task(trace_id=f"chatcmpl-{number:026}")
    group = a_group(*drawn, task=task, plan=a_plan(route_name="maths", policy="policy-1", **plan))
    return group.with_decision(decide(group, "cap"))


def test_each_route_and_policy_learns_from_its_own_labels():
    first = a_trace(1, "42", "42", "42")
    other = replace(first, plan=replace(first.plan, route_name="law"))
    newer = replace(first, plan=replace(first.plan, policy="policy-2"))

    found = calibrations_from([Known(first, True), Known(other, True), Known(newer, False)])

    assert {key: each.labels for key, each in found.items()} == {
        ("maths", "policy-1"): 1,
        ("law", "policy-1"): 1,
        ("maths", "policy-2"): 1,
    }


def test_a_promoted_policy_starts_without_numbers_and_gets_them_with_labels_of_its_own():
    old = [Known(a_trace(i, "42", "42", "42"), True) for i in range(MIN_LABELS)]
    found = calibrations_from(old)
    three = evidence_of(old[0].group)
    new = [
        replace(each, group=replace(each.group, plan=replace(each.group.plan, policy="policy-2")))
        for each in old
    ]

    soon = calibrations_from(new[:-1], found)["maths", "policy-2"]
    later = calibrations_from(new, found)["maths", "policy-2"]

    assert confidence(three, found["maths", "policy-1"]) is not None
    assert confidence(three, found.get(("maths", "policy-2"))) is None
    assert confidence(three, soon) is None
    assert confidence(three, later) is not None


def test_learning_in_pieces_gives_what_learning_at_once_gives():
    log = [Known(a_trace(i, "42", "42", "41"), i % 3 > 0) for i in range(40)]

    pieces = {}
    for start in range(0, 40, 7):
        pieces = calibrations_from(log[start : start + 7], pieces)

    assert pieces == calibrations_from(log)


def test_the_last_word_on_a_trace_counts_and_counts_once():
    group = a_trace(1, "42", "42", "42")

    found = calibrations_from([Known(group, True), Known(group, False)])["maths", "policy-1"]

    assert [outcome.right for outcome in found.outcomes] == [False]
    assert calibrations_from([Known(group, False)], {("maths", "policy-1"): found}) == {
        ("maths", "policy-1"): found
    }


def test_old_labels_make_room_for_new_ones_of_their_kind():
    proven = a_trace(0, "42", verdicts=(a_verdict("pass"),))
    votes = [Known(a_trace(i, "42", "42", "42"), True) for i in range(1, WINDOW + 11)]

    found = calibrations_from([Known(proven, True), *votes])["maths", "policy-1"]

    assert (found.voted, found.proven) == (WINDOW, 1)
    assert found.outcomes[1].trace_id == votes[10].group.trace_id


def test_a_verifier_is_not_asked_whether_it_was_right():
    passed = a_trace(1, "42", verdicts=(a_verdict("pass"),))

    assert calibrations_from([Known(passed, True, "42", "verifier")]) == {}
    assert calibrations_from([Known(passed, False)])["maths", "policy-1"].proven == 1


def test_what_a_verifier_refuted_is_wrong():
    failed = a_trace(1, "41", "41", verdicts=(a_verdict("fail"),), verifiers=(a_ref(),))

    found = calibrations_from([Known(failed, False, None, "verifier")])["maths", "policy-1"]

    assert (found.silent, found.outcomes[0].right) == (1, False)


@pytest.mark.parametrize("known", [{"right": None}, {"right": True, "source": "vote"}])
def test_a_deep_vote_is_no_word_about_votes(known):
    assert calibrations_from([Known(a_trace(1, "42", "42", "42"), **known)]) == {}


def test_the_confidence_that_was_said_is_kept_beside_what_was_so():
    group = a_trace(1, "42", "42", "42")
    said = group.with_decision(replace(group.decision, confidence=0.875))

    found = calibrations_from([Known(said, True)])["maths", "policy-1"]

    assert found.outcomes[0].said == 0.875


def a_cascade(*, small: str | None, big: str, kind: str = "number") -> Group:
    contract = AnswerContract(kind=kind)
    first = a_trace(1, small, small, contract=contract, fallback="big")
    plan = replace(first.plan, policy="policy-big", fallback="")
    drawn = [a_scored(2 + i, big, stage=1) for i in range(3)]
    group = first.next_stage(plan).with_scored(*drawn).with_tally(a_group(*drawn).tally)
    return group.with_decision(Decision(status="agreed", winner=2, stop_reason="margin"))


def test_a_stage_that_was_given_up_is_judged_by_the_answer_that_was_right():
    agrees = calibrations_from([Known(a_cascade(small="42", big="42"), True, "42")])
    differs = calibrations_from([Known(a_cascade(small="41", big="42"), True, "42")])
    silent = calibrations_from([Known(a_cascade(small=None, big="42"), True, "42")])

    judged = [
        (
            found["maths", "policy-1"].outcomes[0].right,
            found["maths", "policy-big"].outcomes[0].right,
        )
        for found in (agrees, differs, silent)
    ]

    assert judged == [(True, True), (False, True), (False, True)]


def test_a_stage_is_not_judged_where_nobody_knows():
    """The served answer is wrong: so is an equal one, and of another one nothing is known. A text
    may be right in more than one form."""
    equal = calibrations_from([Known(a_cascade(small="41", big="41"), False)])
    other = calibrations_from([Known(a_cascade(small="42", big="41"), False)])
    text = calibrations_from(
        [Known(a_cascade(small="Bonn", big="bonn.", kind="text"), True, "bonn.")]
    )

    assert equal["maths", "policy-1"].outcomes[0].right is False
    assert ("maths", "policy-1") not in other
    assert ("maths", "policy-1") not in text


def test_a_fallback_to_the_same_policy_counts_once():
    group = a_cascade(small="41", big="42")
    same = replace(group, plan=replace(group.plan, policy="policy-1"))

    found = calibrations_from([Known(same, True, "42")])["maths", "policy-1"]

    assert [(outcome.right, outcome.evidence.n) for outcome in found.outcomes] == [(True, 3)]


def split_trace(number: int) -> Group:
    """Two long samples say 42, a short one says 41."""
    drawn = [
        a_scored(i, key, completion_tokens=tokens)
        for i, (key, tokens) in enumerate((("42", 90 + number), ("41", 20), ("42", 70)))
    ]
    task = a_task(trace_id=f"chatcmpl-{number:026}")
    group = a_group(*drawn, task=task, plan=a_plan(route_name="maths", policy="policy-1"))
    return group.with_decision(decide(group, "cap"))


def test_a_scorer_that_tells_right_from_wrong_in_the_log_weighs_votes():
    log = [Known(split_trace(i), True) for i in range(30)]

    found = calibrations_from(log)["maths", "policy-1"]

    assert found.weights is not None
    assert (found.weights.scorer, found.weights.auc, found.weights.questions) == ("length", 1.0, 30)
    assert found.weights.slope > 0
    assert Calibration.from_state(json.loads(json.dumps(found.to_state()))) == found


def test_where_the_right_answer_is_not_known_nothing_is_learned_about_scorers():
    """A wrong answer was served: nobody said which of the others is right."""
    log = [Known(split_trace(i), False) for i in range(30)]

    found = calibrations_from(log)["maths", "policy-1"]

    assert (found.weights, {o.contested == {} for o in found.outcomes}) == (None, {True})
