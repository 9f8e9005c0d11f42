"""What the night is given of a group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from app.group import CacheRecord, Group
from app.store.rows import to_rows
from app.store.sides import split_of
from app.store.training_rows import hash_prompt, to_training_rows
from tests import strategies
from tests.store.groups import make_group, make_scored


def test_a_row_has_all_that_training_reads() -> None:
    row = to_training_rows(make_group())[2]

    assert row["prompt"][1] == {"role": "user", "content": "What is 17 + 25?"}
    assert row["prompt_token_ids"] == (1, 2, 3)
    assert row["token_ids"] == (5, 6, 7, 2)
    assert row["logprobs"] == (-0.5, -0.25, -1.0, -0.125)
    assert (row["reward"], row["policy"], row["temperature"]) == (0.0, "base", 1.0)
    assert (row["trainable"], row["not_trainable"]) == (True, "")
    assert row["verdicts"][0]["status"] == "fail"


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("unfinished", {"cancelled": True}),
        ("unfinished", {"finish_reason": None}),
        ("no_token_ids", {"token_ids": None}),
        ("no_token_ids", {"token_ids": (), "logprobs": ()}),
        ("no_logprobs", {"logprobs": None}),
        ("misaligned_logprobs", {"logprobs": (-0.5,)}),
        ("raw_logprobs", {"trainable": False, "not_trainable": "raw_logprobs"}),
    ],
)
def test_a_sample_that_cannot_be_trained_on_says_why(reason: str, change: dict[str, Any]) -> None:
    group = make_group(answers=()).with_scored(make_scored(0, "42", **change))
    group = replace(group, calls=make_group().calls)

    row = to_training_rows(group)[0]

    assert (row["trainable"], row["not_trainable"]) == (False, reason)


def test_what_could_not_be_checked_has_no_reward_and_does_not_train() -> None:
    unchecked = replace(make_scored(0, "42"), reward=None)
    group = replace(make_group(), scored=(unchecked,))

    row = to_training_rows(group)[0]

    assert (row["reward"], row["not_trainable"]) == (None, "no_reward")


def test_a_cached_answer_is_not_trained_on_a_second_time() -> None:
    rows = to_training_rows(make_group(cache=CacheRecord(hit=True)))

    assert {row["not_trainable"] for row in rows} == {"cache_hit"}


def test_a_question_stays_on_its_side_whatever_its_form_and_instructions() -> None:
    def said(system: str, user: str) -> str | None:
        messages = ({"role": "system", "content": system}, {"role": "user", "content": user})
        return hash_prompt(make_group(task={"messages": messages}))

    first = said("Be brief.", "What is  ２ + 2?\n")

    assert first == said("Be kind.", "what is 2 + 2?")
    assert first != said("Be brief.", "What is 2 + 3?")


def test_about_seven_in_a_hundred_prompts_are_held_out() -> None:
    sides = [split_of(f"{i:064x}") for i in range(1000)]

    assert (sides.count("gate"), sides.count("audit"), sides.count("train")) == (50, 20, 930)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups)
def test_every_sample_is_one_row_of_each_kind(group: Group) -> None:
    rows = to_rows(group)
    training = to_training_rows(group)
    indexes = [scored.sample.index for scored in group.scored]

    assert [row["sample"] for row in rows.samples] == indexes
    assert [row["sample"] for row in training] == indexes
    assert len(rows.verdicts) == sum(len(scored.verdicts) for scored in group.scored)
    assert Group.from_json(rows.payload["document"]) == group
    assert [row["trainable"] for row in rows.samples] == [row["trainable"] for row in training]
    assert {row["split"] for row in training} <= {rows.group["split"]}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups)
def test_a_trainable_row_is_complete(group: Group) -> None:
    for row in to_training_rows(group):
        if row["trainable"]:
            assert len(row["token_ids"]) == len(row["logprobs"]) > 0
            assert row["reward"] is not None
            assert row["prompt_token_ids"] is not None
            assert group.task.content == "full"
            assert group.task.store is not False
        else:
            assert row["not_trainable"]
