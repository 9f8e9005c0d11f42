"""Which sample is served and what is said about it."""

from __future__ import annotations

import pytest

from app.group import Decision
from app.task import Options
from app.voting.confidence import Evidence, fit_calibration
from app.voting.decide import decide
from tests.builders import a_group, a_plan, a_ref, a_scored, a_task, a_verdict


def test_a_proven_minority_beats_a_refuted_majority():
    group = a_group(
        a_scored(0, "41", a_verdict("fail")),
        a_scored(1, "41", a_verdict("fail")),
        a_scored(2, "42", a_verdict("pass")),
        plan=a_plan(verifiers=(a_ref(),)),
    )

    decision = decide(group, "verified")

    assert (decision.status, decision.winner) == ("verified", 2)


def test_a_vote_that_met_its_margin_is_agreed():
    group = a_group(*(a_scored(i, "42") for i in range(3)))

    assert decide(group, "margin").status == "agreed"


def test_a_vote_under_its_margin_is_unverified():
    group = a_group(a_scored(0, "42"), a_scored(1, "42"))

    assert decide(group, "cap").status == "unverified"


@pytest.mark.parametrize("status", ["error", "abstain"])
def test_a_vote_cannot_stand_in_for_a_proof_that_was_asked_for(status):
    verdict = a_verdict(status)
    group = a_group(
        *(a_scored(i, "42", verdict) for i in range(3)), plan=a_plan(verifiers=(a_ref(),))
    )

    assert decide(group, "margin").status == "unverified"


def test_a_failed_policy_is_never_verified():
    policy = a_verdict("fail", role="policy", decisive=False)
    group = a_group(a_scored(0, "42", a_verdict("pass"), policy))

    assert decide(group, "cap").status == "unverified"


def test_a_judge_alone_never_makes_verified():
    judge = a_verdict("pass", role="judge", decisive=False)
    group = a_group(a_scored(0, "42", judge))

    assert decide(group, "cap").status == "unverified"


def test_hold_keeps_an_unverified_answer_back():
    task = a_task(options=Options(on_unverified="hold"))

    assert decide(a_group(a_scored(0, "42"), task=task), "cap").status == "held"


def test_when_nothing_passes_the_most_voted_standing_sample_is_the_best_candidate():
    group = a_group(a_scored(0, "40"), a_scored(1, "42"), a_scored(2, "42"))

    assert decide(group, "cap").winner == 1


def test_a_refuted_sample_is_served_only_when_all_are_refuted():
    standing = a_group(a_scored(0, "41", a_verdict("fail")), a_scored(1, None))
    refuted = a_group(a_scored(0, "41", a_verdict("fail")))

    assert decide(standing, "cap").winner == 1
    assert decide(refuted, "cap").winner == 0


def test_a_sample_that_never_ended_is_not_served():
    group = a_group(a_scored(0, "42", finish_reason=None), a_scored(1, None))

    assert decide(group, "engine").winner == 1
    assert decide(a_group(a_scored(0, None, finish_reason=None)), "engine").winner is None


def test_ties_go_to_score_then_logprob_then_shorter_then_first():
    score = a_group(
        a_scored(0, "1", a_verdict("pass", decisive=False, score=0.2)),
        a_scored(1, "2", a_verdict("pass", decisive=False, score=0.9)),
    )
    logprob = a_group(
        a_scored(0, "1", logprobs=(-0.9, -0.9)), a_scored(1, "2", logprobs=(-0.1, -0.2))
    )
    length = a_group(a_scored(0, "1", text="it is 1"), a_scored(1, "2", text="2"))
    first = a_group(a_scored(0, "1"), a_scored(1, "2"))

    winners = [decide(group, "cap").winner for group in (score, logprob, length, first)]

    assert winners == [1, 1, 1, 0]


def test_choices_are_distinct_answers_first_best_first():
    group = a_group(a_scored(0, "42"), a_scored(1, "42"), a_scored(2, "41"), task=a_task(choices=3))

    assert decide(group, "cap").returned == (0, 2, 1)


def test_a_text_is_served_before_a_program_with_as_many_votes():
    group = a_group(
        a_scored(0, "42", text="6", kind="program"), a_scored(1, "42", text="It is 42.")
    )

    assert decide(group, "two_kinds").winner == 1


def test_a_program_is_served_when_it_has_more_votes():
    group = a_group(
        a_scored(0, "41"), a_scored(1, "42", kind="program"), a_scored(2, "42", kind="program")
    )

    assert decide(group, "cap").winner == 1


@pytest.mark.parametrize(
    ("rule", "margin", "kinds"),
    [
        ("two_kinds", 3, ["text", "program"]),
        ("adaptive", 9, ["text"] * 4),
        ("esc", 9, ["text"] * 5),
    ],
)
def test_a_vote_is_agreed_when_its_own_rule_says_that_it_is_settled(rule, margin, kinds):
    scored = [a_scored(i, "42", kind=kind) for i, kind in enumerate(kinds)]
    settled = a_group(*scored, plan=a_plan(rule=rule, margin=margin))
    short = a_group(*scored[:-1], plan=a_plan(rule=rule, margin=margin))

    assert decide(settled, rule).status == "agreed"
    assert decide(short, "cap").status == "unverified"


def test_one_sample_agrees_with_nobody_whatever_the_rule():
    plan = a_plan(route="easy", rule="adaptive", first_round=1, cap=1, margin=3)

    assert decide(a_group(a_scored(0, "42"), plan=plan), "single").status == "unverified"


def test_the_decision_is_on_the_samples_of_the_running_stage():
    first = a_group(*(a_scored(i, "41") for i in range(3)), plan=a_plan(policy="small"))
    first = first.with_decision(Decision(status="agreed", winner=0, stop_reason="margin"))
    drawn = [a_scored(3 + i, key, stage=1) for i, key in enumerate(("42", "42"))]
    group = first.next_stage(a_plan(policy="big")).with_scored(*drawn)
    group = group.with_tally(a_group(*drawn).tally)

    decision = decide(group, "cap")

    assert (decision.winner, decision.status) == (3, "unverified")


THREE = Evidence(n=3, a=3, b=0, distinct=1, nulls=0)
FOUR_ONE = Evidence(n=5, a=4, b=1, distinct=2, nulls=0)
KNOWN = fit_calibration(
    [(THREE, i < 345) for i in range(350)] + [(FOUR_ONE, i < 75) for i in range(150)]
)


def three_of_three(**plan):
    return a_group(*(a_scored(i, "42") for i in range(3)), plan=a_plan(**plan))


def four_of_five(*, task=None, **plan):
    keys = ("42", "42", "41", "42", "42")
    return a_group(
        *(a_scored(i, key) for i, key in enumerate(keys)), plan=a_plan(**plan), task=task
    )


def test_a_calibrated_route_says_how_sure_it_is():
    sure = decide(three_of_three(), "margin", KNOWN)
    less = decide(four_of_five(), "margin", KNOWN)

    assert sure.confidence == pytest.approx(0.98, abs=0.02)
    assert less.confidence == pytest.approx(0.5, abs=0.1)
    assert decide(three_of_three(), "margin").confidence is None


def test_without_a_promise_nothing_abstains():
    decision = decide(four_of_five(), "margin", KNOWN)

    assert (decision.status, decision.abstained, decision.threshold) == ("agreed", False, None)


def test_an_answer_less_sure_than_promised_abstains():
    served = decide(three_of_three(max_error=0.05), "margin", KNOWN)
    abstained = decide(four_of_five(max_error=0.05), "margin", KNOWN)

    assert (served.status, served.abstained) == ("agreed", False)
    assert (abstained.status, abstained.abstained) == ("unverified", True)
    assert abstained.winner is not None
    assert abstained.confidence < abstained.threshold == served.threshold <= served.confidence


def test_abstaining_is_handled_as_every_unverified_answer():
    task = a_task(options=Options(on_unverified="hold"))
    decision = decide(four_of_five(task=task, max_error=0.05), "margin", KNOWN)

    assert (decision.status, decision.abstained) == ("held", True)


@pytest.mark.parametrize("calibration", [None, fit_calibration([(THREE, True)] * 99)])
def test_a_promise_cannot_be_kept_before_the_labels_are_there(calibration):
    decision = decide(three_of_three(max_error=0.05), "margin", calibration)

    assert (decision.status, decision.abstained) == ("unverified", True)
    assert decision.confidence is None


def test_where_no_threshold_is_high_enough_everything_without_proof_abstains():
    decision = decide(three_of_three(max_error=0.001), "margin", KNOWN)

    assert (decision.abstained, decision.threshold) == (True, None)
    assert decision.confidence is not None


def test_a_verified_answer_never_abstains():
    group = a_group(
        a_scored(0, "42", a_verdict("pass")), plan=a_plan(verifiers=(a_ref(),), max_error=0.001)
    )

    decision = decide(group, "verified", KNOWN)

    assert (decision.status, decision.abstained) == ("verified", False)


def test_where_nothing_ended_nothing_abstains():
    group = a_group(a_scored(0, None, finish_reason=None), plan=a_plan(max_error=0.05))

    decision = decide(group, "engine", KNOWN)

    assert (decision.winner, decision.abstained, decision.confidence) == (None, False, None)
