"""Bodies out, choices in: a streamed choice and a whole one read alike."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engines.wire import (
    PROGRAM_WANTED,
    ChoiceBuilder,
    build_body,
    cache_salt,
    program_messages,
    read_json,
)
from app.errors import EngineGarbage
from app.task import Parameters
from tests.builders import a_plan, a_task


def built(*pieces: dict[str, Any], keep_logprobs: bool = False) -> ChoiceBuilder:
    builder = ChoiceBuilder(keep_logprobs=keep_logprobs)
    for piece in pieces:
        builder.add(piece)
    return builder


@given(st.text(), st.lists(st.integers(0, 40), max_size=6))
def test_a_text_in_pieces_is_the_text(text: str, cuts: list[int]) -> None:
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(borders)]
    builder = built(*({"delta": {"content": piece}} for piece in pieces))

    assert builder.text == built({"message": {"content": text}}).text == text


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_the_text(key: str) -> None:
    builder = built({"delta": {key: "hm"}}, {"delta": {key: "m"}}, {"delta": {"content": "4"}})

    assert (builder.reasoning, builder.text) == ("hmm", "4")


def test_a_list_of_text_parts_is_text() -> None:
    parts = [{"type": "text", "text": "4"}, {"type": "other"}, {"type": "text", "text": "2"}]

    assert built({"message": {"content": parts}}).text == "42"


def test_arguments_stay_byte_for_byte_and_an_object_becomes_json() -> None:
    calls = [
        {"id": "a", "function": {"name": "f", "arguments": '{"x":  12345678901234567890}'}},
        {"id": "b", "function": {"name": "g", "arguments": {"x": 1}}},
    ]
    first, second = built({"message": {"content": None, "tool_calls": calls}}).tool_calls

    assert (first.id, first.name, first.arguments) == ("a", "f", '{"x":  12345678901234567890}')
    assert orjson.loads(second.arguments) == {"x": 1}


def test_token_ids_of_llama_cpp_stand_beside_its_logprobs() -> None:
    entries = [{"id": 5, "token": "4", "logprob": -0.5}, {"id": 2, "token": "", "logprob": -0.1}]
    builder = built({"delta": {"content": "4"}, "logprobs": {"content": entries}})

    assert (builder.token_ids, builder.entry_ids) == (None, (5, 2))
    assert builder.logprobs == (-0.5, -0.1)
    assert builder.logprobs_wire is None


def test_logprobs_are_kept_as_sent_only_when_the_client_asked() -> None:
    entry = {"token": "4", "logprob": -0.5, "top_logprobs": []}
    piece = {"delta": {"content": "4"}, "logprobs": {"content": [entry]}}

    assert built(piece, keep_logprobs=True).logprobs_wire == {"content": [entry], "refusal": None}


@pytest.mark.parametrize(
    ("expected", "piece"),
    [
        (3, {"token_ids": [1, 2, 3], "logprobs": {"content": [{"logprob": -1}]}}),
        (2, {"logprobs": {"content": [{"logprob": -1}, {"logprob": None}]}}),
        (1, {"delta": {"content": "a few words"}}),
        (0, {"delta": {"role": "assistant", "content": ""}}),
    ],
)
def test_tokens_are_counted_by_the_best_that_came(expected: int, piece: dict[str, Any]) -> None:
    assert built(piece).counted_tokens == expected


def test_a_missing_logprob_is_not_a_number() -> None:
    (mu,) = built({"logprobs": {"content": [{"logprob": None}]}}).logprobs or ()

    assert mu != mu


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_finish_reason_that_means_broken_is_no_end(reason: str) -> None:
    builder = built({"delta": {"content": "4"}, "finish_reason": reason})

    assert (builder.finish_reason, builder.cut) == (None, True)


@pytest.mark.parametrize(
    "data",
    [rb'{"a": "\ud800"}', b'{"a": "\xff"}', b'{"a": NaN}'],
    ids=["surrogate", "bytes", "nan"],
)
def test_json_that_is_only_nearly_json_is_read(data: bytes) -> None:
    assert "a" in read_json(data)


@pytest.mark.parametrize("data", [b"", b"{", b"hello", b"[" * 10**5], ids=str)
def test_what_is_not_json_is_garbage(data: bytes) -> None:
    with pytest.raises(EngineGarbage, match="not JSON"):
        read_json(data)


def test_a_body_holds_what_was_asked_and_nothing_else() -> None:
    body = build_body(a_task("hi"), a_plan(temperature=None), "m")

    assert body == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_extras_of_the_client_pass() -> None:
    task = a_task(parameters=Parameters(extra={"chat_template_kwargs": {"thinking": False}}))

    assert build_body(task, a_plan(), "m")["chat_template_kwargs"] == {"thinking": False}


def test_a_salt_tells_tenants_apart_and_does_not_name_them() -> None:
    assert cache_salt("a", "m") == cache_salt("a", "m") != cache_salt("b", "m")
    assert "local" not in cache_salt("local", "m")


def test_a_program_is_asked_for_in_the_users_own_message_and_the_task_stays_as_it_was() -> None:
    """Many chat templates refuse two messages of the user's in a row."""
    task = a_task("What is 6 * 7?", parameters=Parameters(stop=("\n\n",)))
    asked = build_body(task, a_plan(), "m", "program")

    assert len(asked["messages"]) == 1
    assert asked["messages"][0]["content"] == f"What is 6 * 7?\n\n{PROGRAM_WANTED}"
    assert "stop" not in asked
    assert build_body(task, a_plan(), "m")["messages"] == [
        {"role": "user", "content": "What is 6 * 7?"}
    ]


def test_a_program_is_asked_for_beside_an_image_and_after_an_assistants_turn() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,x"}}
    text = {"type": "text", "text": PROGRAM_WANTED}
    seen = {"role": "user", "content": [picture]}
    said = {"role": "assistant", "content": "Let me see."}

    assert program_messages([seen]) == [{"role": "user", "content": [picture, text]}]
    assert program_messages([seen, said])[2:] == [{"role": "user", "content": PROGRAM_WANTED}]
