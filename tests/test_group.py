"""A group is written once and read back exactly."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from app.group import Decision, Group
from tests import strategies
from tests.builders import a_group, a_plan, a_scored
from tests.store.groups import make_group


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups)
def test_a_group_is_read_back_from_its_json_exactly(group: Group) -> None:
    assert Group.from_json(group.to_json()) == group


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups)
def test_the_json_of_a_group_is_strict(group: Group) -> None:
    """No NaN or Infinity literals: any JSON reader may read a trace."""

    def refuse(literal: str) -> None:
        raise AssertionError(literal)

    assert json.loads(group.to_json(), parse_constant=refuse)["version"] == group.version


def test_prompt_tokens_count_once_a_call_and_completions_of_losers_too() -> None:
    usage = make_group(answers=("42", "42", "41")).usage()

    assert (usage.prompt_tokens, usage.completion_tokens) == (12, 3 * 4)


def test_a_cache_hit_counts_the_tokens_of_its_winner() -> None:
    usage = make_group(answers=("42",), calls=()).usage()

    assert (usage.prompt_tokens, usage.completion_tokens) == (12, 4)


def test_data_that_is_not_a_group_is_refused() -> None:
    with pytest.raises(ValidationError):
        Group.from_json(b'{"task": 1}')


def _cascade(*, small: tuple[str, ...] = ("41", "42"), big: tuple[str, ...] = ("42",)) -> Group:
    scored = [a_scored(i, key) for i, key in enumerate(small)]
    first = a_group(*scored, plan=a_plan(policy="small", fallback="big"))
    given_up = first.with_decision(Decision(status="unverified", winner=0, stop_reason="cap"))
    drawn = [a_scored(len(small) + i, key, stage=1) for i, key in enumerate(big)]
    return given_up.next_stage(a_plan(policy="big")).with_scored(*drawn)


def test_only_the_samples_of_the_running_stage_vote() -> None:
    group = _cascade()

    assert [s.answer.key for s in group.current] == ["42"]
    assert len(group.scored) == 3


def test_the_stage_before_can_be_served_after_all_and_is_as_it_was() -> None:
    nothing = Decision(status="unverified", winner=None, stop_reason="engine")
    group = _cascade().with_decision(nothing).previous_stage()

    assert (group.plan.policy, group.decision.stop_reason, group.stage) == ("small", "cap", 0)
    assert [s.answer.key for s in group.current] == ["41", "42"]
    assert (group.unused.plan.policy, group.unused.decision) == ("big", nothing)


def test_what_a_stage_lacked_is_forgotten_with_it_and_the_rest_is_not() -> None:
    first = a_group(a_scored(0, "41")).with_degraded("cache", "samples", "engine")
    decided = first.with_decision(Decision(status="unverified", winner=0))

    assert decided.next_stage(a_plan()).degraded == ("cache",)


def test_every_sample_knows_by_which_plan_it_was_drawn() -> None:
    cascade = _cascade()
    served_first = cascade.with_decision(Decision(status="unverified", winner=2)).previous_stage()

    for group in (cascade, served_first):
        drawn_by = [group.plan_of(scored.sample).policy for scored in group.scored]
        assert drawn_by == ["small", "small", "big"]
