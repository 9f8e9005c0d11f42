"""What is kept at each content level, and what never is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from app.group import Decision, Failure, Group, Stage, Tally
from app.store.content import apply_content_level, drop_content, hash_text, redact
from app.store.training_rows import to_training_rows
from tests import strategies
from tests.store.groups import make_group, make_scored
from verifiers.base import ToolCall, VerifierSpec

CASES = Path(__file__).parents[1] / "cases" / "redaction.jsonl"
SECRET = "zanzibar"


def secretive(level: str) -> Group:
    """A group with one word in every place that content can be in."""
    scored = make_scored(
        0,
        SECRET,
        text=SECRET,
        raw_text=SECRET,
        reasoning=SECRET,
        refusal=SECRET,
        tool_calls=(ToolCall(id="c1", name="weather", arguments=SECRET),),
        logprobs_wire={"content": [{"token": SECRET}]},
    )
    scored = replace(
        scored, verdicts=(replace(scored.verdicts[0], evidence={"expected": [SECRET, 314159]}),)
    )
    group = make_group(
        answers=(SECRET, "b"),
        task={
            "content": level,
            "messages": (
                {"role": "user", "name": SECRET, "content": SECRET},
                {"role": "user", "content": [{"type": "text", "text": SECRET}]},
                {"role": "assistant", "tool_calls": [{"function": {"arguments": SECRET}}]},
            ),
            "tools": ({"type": "function", "function": {"name": "f", "description": SECRET}},),
            "response_format": {"type": "json_schema", "json_schema": {"title": SECRET}},
        },
    )
    task = replace(
        group.task,
        parameters=replace(group.task.parameters, stop=(SECRET,), extra={"prompt": SECRET}),
        options=replace(
            group.task.options,
            verifiers=(VerifierSpec(use="number", options={"reference": SECRET}),),
        ),
    )
    failure = Failure(code="upstream_error", message=SECRET, status=502, where="engine")
    contract = replace(group.plan.contract, choices=(SECRET,))
    given_up = Stage(
        plan=replace(group.plan, contract=contract),
        tally=Tally(
            votes=((SECRET, 1),), leader=SECRET, runner_up=SECRET, weights=((SECRET, 1.5),)
        ),
        decision=Decision(status="unverified", winner=0),
    )
    return replace(
        group,
        task=task,
        scored=(scored, make_scored(1, "b")),
        error=failure,
        earlier=(given_up,),
        unused=given_up,
    )


def test_full_content_is_the_group_itself() -> None:
    group = secretive("full")

    assert apply_content_level(group) is group


@pytest.mark.parametrize("level", ["hash", "off"])
def test_no_text_is_left_below_redacted(level: str) -> None:
    kept = apply_content_level(secretive(level)).to_json()

    assert SECRET.encode() not in kept
    assert b"314159" not in kept
    assert b'"token_ids":[' not in kept


def test_store_false_keeps_no_content_whatever_the_level() -> None:
    group = secretive("full")
    group = replace(group, task=replace(group.task, store=False))

    kept = apply_content_level(group)

    assert kept.task.content == "off"
    assert SECRET.encode() not in kept.to_json()


@pytest.mark.parametrize("level", ["redacted", "hash", "off"])
def test_nothing_below_full_is_trained_on(level: str) -> None:
    rows = to_training_rows(apply_content_level(secretive(level)))

    assert [(row["trainable"], row["not_trainable"]) for row in rows] == [
        (False, f"content_{level}")
    ] * 2
    assert [row["token_ids"] for row in rows] == [None, None]


@pytest.mark.parametrize("level", ["hash", "off"])
def test_votes_still_say_who_agreed(level: str) -> None:
    group = make_group(answers=("7", "7", "8"), task={"content": level})

    kept = apply_content_level(group)

    (leader, two), (other, one) = kept.tally.votes
    assert (two, one) == (2, 1)
    assert [s.answer.key for s in kept.scored] == [leader, leader, other]
    assert leader != other


def test_a_hash_keeps_structure_roles_and_equality() -> None:
    kept = apply_content_level(secretive("hash"))

    first, second, _ = kept.task.messages
    assert (first["role"], first["content"]) == ("user", hash_text(SECRET))
    assert second["content"] == [{"type": "text", "text": hash_text(SECRET)}]
    assert kept.task.tools[0]["function"]["name"] == "f"
    assert kept.scored[0].sample.tool_calls[0].name == "weather"


def test_redaction_leaves_the_rest_readable() -> None:
    text = "Write to ann@example.org about invoice 17"
    group = make_group(
        task={"content": "redacted", "messages": ({"role": "user", "content": text},)}
    )

    kept = apply_content_level(group)

    assert kept.task.prompt() == "Write to [redacted:email] about invoice 17"
    assert kept.scored[0].sample.text == "It is 42."
    assert kept.task.metadata == group.task.metadata


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c["id"]) for c in map(json.loads, CASES.read_text().splitlines())],
)
def test_redaction_of(case: dict[str, str]) -> None:
    assert redact(case["text"]) == case["expected"]


def test_content_that_found_no_room_is_marked() -> None:
    bare = drop_content(secretive("full"))

    assert bare.altered == ("content_dropped",)
    assert SECRET.encode() not in bare.to_json()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(group=strategies.groups)
def test_a_level_applied_twice_changes_nothing_more(group: Group) -> None:
    once = apply_content_level(group)

    assert apply_content_level(once) == once
    assert Group.from_json(once.to_json()) == once
