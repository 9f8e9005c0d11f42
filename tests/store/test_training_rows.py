"""What the night is given of a group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from app.group import CacheRecord, Group
from app.sample import Origin
from app.store.rows import to_rows
from app.store.sides import Side, split_of
from app.store.training_rows import hash_prompt, to_training_rows
from tests import strategies
from tests.store.groups import make_group, make_plan, make_scored
from verifiers.base import Status


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


def test_a_row_says_how_and_by_whom_it_was_drawn() -> None:
    origin = Origin(server_version="vllm 0.33.0", tokenizer_digest="t1", chat_template_digest="c1")
    group = make_group()
    group = replace(group, calls=(replace(group.calls[0], origin=origin),))
    row = to_training_rows(group)[0]

    law = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty")
    assert [row[key] for key in law] == [1.0, 0, 0.0, 1.0, 0.0]
    assert row["logprobs_mode"] == "processed"
    assert (row["server_version"], row["tokenizer_digest"]) == ("vllm 0.33.0", "t1")
    assert row["base_model_digest"] is None
    assert (row["prompt_tokens"], row["completion_tokens"], row["finished_ms"]) == (12, 4, 80.0)


def test_what_the_server_chose_itself_is_not_made_up() -> None:
    free = make_scored(0, "42", trainable=False, not_trainable="server_defaults")
    group = replace(make_group(plan={"top_p": None}), scored=(free,), calls=())
    row = to_training_rows(group)[0]

    keys = ("top_p", "top_k", "logprobs_mode", "server_version", "prompt_token_ids")
    assert [row[key] for key in keys] == [None] * 5


def test_a_sample_of_a_stage_that_was_given_up_keeps_its_policy_and_its_prompt() -> None:
    first = make_group(plan={"policy": "small"})
    group = first.next_stage(make_plan(policy="large")).with_scored(
        make_scored(3, "42", stage=1, call=1)
    )
    call = replace(group.calls[0], index=1, prompt_token_ids=(9, 9))
    rows = to_training_rows(group.with_calls(call))

    assert [row["policy"] for row in rows] == ["small"] * 3 + ["large"]
    assert [row["prompt_token_ids"] for row in rows] == [(1, 2, 3)] * 3 + [(9, 9)]
    assert [row["policy"] for row in to_rows(group).samples] == ["small"] * 3 + ["large"]


def test_a_hidden_verifier_beside_an_open_one_has_no_part_in_the_reward() -> None:
    scored = make_scored(0, "42")
    audit = replace(scored.verdicts[0], verifier="steps", hidden=True, score=0.25)
    judged = replace(scored, verdicts=(*scored.verdicts, audit), reward=0.625)
    row = to_training_rows(replace(make_group(), scored=(judged,)))[0]

    assert (row["reward"], row["hidden_score"]) == (1.0, 0.25)
    assert [v["hidden"] for v in row["verdicts"]] == [False, True]


def with_steps(**changes: Any) -> Group:
    scored = make_scored(0, "42")
    judged = replace(
        scored.verdicts[0],
        **{
            "verifier": "steps",
            "role": "process",
            "steps": (1.0, 0.0),
            "step_ends": (4, 9),
            **changes,
        },
    )
    return replace(make_group(), scored=(replace(scored, verdicts=(judged,)),))


def test_steps_have_their_scores_and_their_places_in_the_text() -> None:
    (row,) = to_training_rows(with_steps())

    assert row["step_rewards"] == {"steps": (1.0, 0.0)}
    assert row["step_ends"] == {"steps": (4, 9)}


def test_places_in_a_text_that_was_changed_are_not_told() -> None:
    group = with_steps()
    altered = replace(group.scored[0].sample, raw_text="```\n42\n```")
    (row,) = to_training_rows(replace(group, scored=(replace(group.scored[0], sample=altered),)))

    assert (row["step_rewards"], row["step_ends"]) == ({"steps": (1.0, 0.0)}, {})


def test_steps_of_a_hidden_verifier_teach_nothing() -> None:
    (row,) = to_training_rows(with_steps(hidden=True))

    assert (row["step_rewards"], row["step_ends"]) == ({}, {})


def test_where_only_hidden_verifiers_grade_the_reward_is_theirs() -> None:
    scored = make_scored(0, "42")
    alone = replace(scored, verdicts=(replace(scored.verdicts[0], hidden=True),))
    row = to_training_rows(replace(make_group(), scored=(alone,)))[0]

    assert (row["reward"], row["hidden_score"]) == (1.0, None)


def test_a_hidden_policy_still_makes_a_reward_zero() -> None:
    scored = make_scored(0, "42")
    graded = scored.verdicts[0]
    refused = replace(graded, role="policy", hidden=True, status=Status.FAIL, score=0.0)
    audit = replace(graded, hidden=True)
    judged = replace(scored, verdicts=(graded, refused, audit), reward=0.0)
    row = to_training_rows(replace(make_group(), scored=(judged,)))[0]

    assert (row["reward"], row["hidden_score"]) == (0.0, 1.0)


def test_a_row_takes_the_side_that_was_settled() -> None:
    row = to_training_rows(make_group(), Side("f00d", "gate"))[0]

    assert (row["cluster"], row["split"]) == ("f00d", "gate")
