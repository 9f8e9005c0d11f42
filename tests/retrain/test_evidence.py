"""What a group says about the policy that answered it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from app.group import Group
from app.retrain.drift import find_drift, window_of
from app.retrain.evidence import outcome_of, pair_up, script_of
from app.store.sides import Side
from app.store.training_rows import hash_prompt
from app.task import Options
from tests import strategies
from tests.store.groups import failed_group, make_group
from verifiers.base import AnswerKind, Status, VerifierSpec


def test_a_group_is_rewards_votes_proofs_and_tokens() -> None:
    greedy = make_group(answers=("41",))
    found = outcome_of(make_group(), greedy, Side("founder", "gate"))

    assert found.cluster == "founder"
    assert found.pass_at_1 == pytest.approx(2 / 3)
    assert (found.voted, found.verified, found.greedy) == (True, True, False)
    assert (found.tokens, found.hidden, found.believed) == (4.0, None, None)
    assert found.slices == {"task": "default/number", "difficulty": "hard", "script": "latin"}


def test_the_vote_is_for_the_most_frequent_answer_whoever_passed() -> None:
    """A verifier would have chosen the one right sample; a vote does not know it."""
    found = outcome_of(make_group(answers=("41", "41", "42")))

    assert (found.voted, found.verified) == (False, True)


def test_a_tied_vote_goes_to_what_was_said_first() -> None:
    assert outcome_of(make_group(answers=("41", "42"))).voted is False
    assert outcome_of(make_group(answers=("42", "41"))).voted is True


def test_what_could_not_be_checked_is_neither_right_nor_wrong() -> None:
    group = make_group()
    verdict = replace(group.scored[0].verdicts[0], status=Status.ERROR, score=None)
    unchecked = tuple(replace(s, reward=None, verdicts=(verdict,)) for s in group.scored)
    found = outcome_of(replace(group, scored=unchecked))

    assert (found.pass_at_1, found.voted, found.verified) == (None, None, False)


def test_the_confidence_of_the_served_answer_is_kept_with_whether_it_was_right() -> None:
    group = make_group()
    assert group.decision is not None
    sure = replace(group, decision=replace(group.decision, confidence=0.9))
    found = outcome_of(sure).believed

    assert found is not None
    assert (found.confidence, found.right) == (0.9, True)


@pytest.mark.parametrize(
    ("kind", "use", "reference", "key"),
    [
        ("number", "number", "42", "42"),
        ("number", "number", 1200.5, "1200.5"),
        ("number", "number", "$1,200.50", "1200.5"),
        ("choice", "choice", "B", "B"),
        ("math", "math", r"\frac{1}{2}", "1/2"),
        ("text", "text_equal", "New York", "new york"),
        ("date", "date", "2024-03-05", "2024-03-05"),
        ("json", "json_equal", {"a": 1}, '{"a":1}'),
        ("none", "number", "42", None),
        ("number", "number", "no number", None),
    ],
)
def test_a_reference_is_the_vote_of_a_sample_that_says_it(
    kind: AnswerKind, use: str, reference: Any, key: str | None
) -> None:
    spec = VerifierSpec(use=use, options={"reference": reference})
    assert outcome_of(asked_with(spec, kind=kind)).reference == key


def test_only_what_proves_has_a_reference() -> None:
    """A judge is shown a good answer, and that proves nothing; most tasks name none."""
    shown = VerifierSpec(use="judge", options={"reference": "42"})
    plain = VerifierSpec(use="number")

    assert outcome_of(asked_with(shown, decisive=False)).reference is None
    assert outcome_of(asked_with(plain)).reference is None
    assert outcome_of(make_group()).reference is None


def asked_with(spec: VerifierSpec, *, kind: AnswerKind = "number", decisive: bool = True) -> Group:
    group = make_group()
    ref = replace(group.plan.verifiers[0], name=spec.use, decisive=decisive)
    plan = replace(
        group.plan, contract=replace(group.plan.contract, kind=kind, rule="boxed"), verifiers=(ref,)
    )
    return replace(group, plan=plan, task=replace(group.task, options=Options(verifiers=(spec,))))


def test_nothing_drawn_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no sample"):
        outcome_of(failed_group())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups)
def test_any_group_with_a_prompt_and_samples_has_an_outcome(group: Group) -> None:
    if group.scored and hash_prompt(group):
        found = outcome_of(group)
        assert len(found.drawn) == len(group.scored)
        assert found.pass_at_1 is None or 0 <= found.pass_at_1 <= 1


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups)
def test_any_group_is_part_of_a_window(group: Group) -> None:
    found = find_drift(window_of([group] * 40), window_of([group] * 40))

    assert found.drifted == ()


def test_policies_are_compared_on_the_prompts_that_both_answered() -> None:
    one, other = (
        outcome_of(make_group(task={"messages": ({"role": "user", "content": said},)}))
        for said in ("a", "b")
    )

    assert len(pair_up([one, other], [other, one])) == 2
    assert [pair.incumbent.prompt for pair in pair_up([one, other], [other])] == [other.prompt]
    assert pair_up([one], [other]) == ()
    with pytest.raises(ValueError, match="answered twice"):
        pair_up([one, one], [one])


@pytest.mark.parametrize(
    ("text", "script"),
    [("What is 2 + 2?", "latin"), ("Сколько будет 2 + 2?", "cyrillic"), ("1 + 1 = ", "none")],
)
def test_the_script_of_a_prompt(text: str, script: str) -> None:
    assert script_of(text) == script
