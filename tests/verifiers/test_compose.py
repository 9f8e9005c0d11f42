from __future__ import annotations

from dataclasses import replace

import pytest

from verifiers.base import Status, Verdict
from verifiers.compose import (
    compose_reward,
    gates_pass,
    is_refuted,
    is_verified,
    process_rewards,
)


def verdict(said: str) -> Verdict:
    """`role status [score] [!]`: a `!` makes it decisive."""
    role, status, *rest = said.split()
    score = next((float(word) for word in rest if word != "!"), None)
    if score is None and status in ("pass", "fail"):
        score = 1.0 if status == "pass" else 0.0
    return Verdict(
        verifier=role,
        version="1",
        config_hash="",
        role=role,
        decisive="!" in rest,
        status=Status(status),
        score=score,
    )


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        ([], None),
        (["outcome pass"], 1.0),
        (["outcome fail"], 0.0),
        (["outcome fail 0.4"], 0.4),
        (["outcome abstain"], None),
        (["outcome error"], None),
        (["outcome pass", "outcome error"], None),
        (["outcome pass", "outcome abstain"], 1.0),
        (["outcome pass", "outcome fail"], 0.5),
        (["gate pass"], None),
        (["gate fail"], 0.0),
        (["gate error", "outcome pass"], None),
        (["gate fail", "outcome error"], None),
        (["gate fail", "outcome pass"], 0.0),
        (["gate pass", "outcome pass"], 1.0),
        (["gate abstain", "outcome pass"], 1.0),
        (["policy fail", "outcome pass"], 0.0),
        (["policy error", "outcome pass"], None),
        (["process fail", "outcome pass"], 1.0),
        (["judge fail", "outcome pass"], 1.0),
        (["judge error", "outcome pass"], 1.0),
        (["judge fail 0.4"], 0.4),
        (["judge pass 0.8", "judge fail 0.4"], 0.6),
        (["judge error"], None),
        (["judge pass", "judge error"], None),
        (["judge pass", "outcome abstain"], None),
        (["judge pass", "gate fail"], 0.0),
        (["process pass"], None),
    ],
)
def test_reward_is_gates_times_graded_and_none_when_unchecked(said, reward):
    assert compose_reward([verdict(text) for text in said]) == (
        None if reward is None else pytest.approx(reward)
    )


def test_weights_share_the_reward_among_graded_verdicts_only():
    verdicts = [verdict(said) for said in ("outcome pass", "outcome fail", "outcome abstain")]

    assert compose_reward(verdicts, [3.0, 1.0, 100.0]) == 0.75


@pytest.mark.parametrize(
    ("min_covered", "reward"), [(0.0, 1.0), (0.25, 1.0), (0.26, None), (1.0, None)]
)
def test_too_little_covered_weight_is_no_reward(min_covered, reward):
    verdicts = [verdict(said) for said in ("outcome pass", "outcome abstain")]

    assert compose_reward(verdicts, [1.0, 3.0], min_covered=min_covered) == reward


def test_step_scores_stay_apart_from_the_reward():
    steps = replace(verdict("process fail 0.5"), verifier="steps", steps=(1.0, 0.0))
    verdicts = [steps, verdict("outcome pass !")]

    assert compose_reward(verdicts) == 1.0
    assert process_rewards(verdicts) == {"steps": (1.0, 0.0)}


@pytest.mark.parametrize(
    ("said", "passes", "refuted", "verified"),
    [
        ([], True, False, False),
        (["outcome pass !"], True, False, True),
        (["outcome pass"], True, False, False),
        (["outcome pass !", "outcome fail"], True, True, False),
        (["outcome pass !", "outcome error"], True, False, False),
        (["outcome pass !", "outcome abstain"], True, False, True),
        (["outcome fail !"], True, True, False),
        (["outcome abstain !"], True, False, False),
        (["gate pass", "outcome pass !"], True, False, True),
        (["gate abstain", "outcome pass !"], True, False, True),
        (["gate fail", "outcome pass !"], False, True, False),
        (["gate error", "outcome pass !"], False, False, False),
        (["gate pass !"], True, False, False),
        (["policy pass", "outcome pass !"], True, False, True),
        (["policy abstain", "outcome pass !"], False, False, False),
        (["policy fail", "outcome pass !"], False, True, False),
        (["judge pass !"], True, False, False),
        (["judge error", "outcome pass !"], True, False, False),
        (["process fail", "outcome pass !"], True, True, False),
        (["process pass", "outcome pass !"], True, False, True),
        (["process abstain", "outcome pass !"], True, False, True),
        (["process pass !"], True, False, False),
    ],
)
def test_what_verdicts_say_about_an_answer(said, passes, refuted, verified):
    verdicts = [verdict(text) for text in said]

    assert gates_pass(verdicts) is passes
    assert is_refuted(verdicts) is refuted
    assert is_verified(verdicts) is verified
