"""Which sample is served and what is said about it."""

from __future__ import annotations

import pytest

from app.group import Options
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
