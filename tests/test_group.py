"""A group is written once and read back exactly."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from app.group import Group
from tests import strategies
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
