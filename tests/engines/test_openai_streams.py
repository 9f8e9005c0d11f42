"""Samples as an OpenAI-compatible server sends them, piece by piece and in odd forms."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import EngineGarbage, EngineUnavailable
from app.group import Group
from app.sample import Scored
from app.task import Parameters
from tests.builders import a_group, a_task
from tests.engines.drawing import begin, faked, live, take
from tests.fakes.upstream import (
    HOLD,
    Cut,
    Pause,
    always,
    chunk,
    events,
    json_reply,
    piece,
    scripted,
    usage,
)
from verifiers.base import Answer


async def test_chunks_with_empty_choices_add_nothing() -> None:
    """pc-001."""
    first = chunk(prompt_filter_results=[{"prompt_index": 0}])
    steps = events(
        first,
        chunk(piece("")),
        chunk(piece("Hi")),
        chunk(piece(finish="stop")),
        chunk(usage=usage(11, 2)),
    )
    deltas, samples, error, calls = await live(steps)

    assert error is None
    assert [delta.content for delta in deltas] == ["Hi"]
    assert (samples[0].text, samples[0].finish_reason) == ("Hi", "stop")
    assert (samples[0].completion_tokens, calls[0].prompt_tokens) == (2, 11)


async def test_comments_of_the_server_are_not_data() -> None:
    """pc-004: keep-alive comments before the first chunk and in between."""
    working = b": WORKING\n\n"
    steps = events(
        working, Pause(0.05), working, chunk(piece("Lima")), working, chunk(piece(finish="stop"))
    )
    deltas, samples, error, _ = await live(steps)

    assert error is None
    assert "".join(delta.content for delta in deltas) == samples[0].text == "Lima"


@pytest.mark.parametrize("end", [Cut(), Cut(reset=True), b""], ids=["closed", "reset", "no done"])
async def test_a_stream_that_breaks_off_is_an_error_after_its_unfinished_sample(end: Any) -> None:
    """pc-008: no made-up `stop`; the sample that was cut is handed over without an end."""
    steps = events(
        chunk(piece("apple, ")), chunk(piece("pea")), done=False, then=[end] if end else []
    )
    deltas, samples, error, calls = await live(steps)

    assert "".join(delta.content for delta in deltas) == "apple, pea"
    assert [(s.text, s.finish_reason, s.cancelled) for s in samples] == [
        ("apple, pea", None, False)
    ]
    assert samples[0].not_trainable
    assert isinstance(error, EngineUnavailable | EngineGarbage)
    assert calls[0].error == error.error_code


async def test_samples_that_ended_before_the_cut_are_kept_and_the_call_says_why() -> None:
    steps = events(
        chunk(piece("4", index=0, finish="stop")),
        chunk(piece("5 an", index=1)),
        done=False,
        then=[Cut()],
    )
    async with faked(always(steps)) as (_, engine):
        drawing = begin(engine, 2)
        samples, error = await take(drawing)

    assert error is None
    assert [(s.text, s.finish_reason) for s in samples] == [("4", "stop"), ("5 an", None)]
    assert drawing.calls[0].error == "upstream_unavailable"


async def test_each_sample_is_handed_over_as_it_ends() -> None:
    steps = events(
        chunk(piece("4", index=1, finish="stop")), chunk(piece("5", index=0)), HOLD, done=False
    )
    async with faked(always(steps)) as (_, engine):
        drawing = begin(engine, 2)
        first = await anext(aiter(drawing))
        rest = await drawing.cancel()

    assert (first.index, first.text, first.finish_reason) == (1, "4", "stop")
    assert [(s.index, s.text, s.cancelled, s.completion_tokens) for s in rest] == [
        (0, "5", True, 1)
    ]


async def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    whole = {"choices": [{"index": 0, "message": {"content": "4"}, "finish_reason": "stop"}]}
    deltas, samples, error, _ = await live(json_reply(whole))

    assert error is None
    assert [delta.content for delta in deltas] == [samples[0].text] == ["4"]


async def test_a_server_that_never_ends_its_stream_does_not_hold_the_sample() -> None:
    steps = events(chunk(piece("4", finish="stop")), HOLD, done=False)
    _, samples, error, _ = await live(steps)

    assert error is None
    assert samples[0].finish_reason == "stop"


async def test_tool_calls_are_joined_from_their_pieces() -> None:
    def part(**call: Any) -> dict[str, Any]:
        return chunk({"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}})

    steps = events(
        part(id="call_1", function={"name": "add", "arguments": ""}),
        part(function={"arguments": '{"a": 1'}),
        part(function={"arguments": "2345678901234567890}"}),
        chunk(piece(finish="tool_calls")),
    )
    deltas, samples, error, _ = await live(steps)
    call = samples[0].tool_calls[0]

    assert error is None
    assert (call.id, call.name) == ("call_1", "add")
    assert call.arguments == '{"a": 12345678901234567890}'
    assert len(deltas) == 3


async def test_lone_surrogates_become_replacement_characters_and_pairs_are_rejoined() -> None:
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
    steps = events(
        raw % rb"a\ud83d",
        raw % rb"\ude00b",
        raw % rb"\ud800",
        raw % rb"c",
        chunk(piece(finish="stop")),
    )
    deltas, samples, error, _ = await live(steps)

    assert error is None
    assert samples[0].text == "a\U0001f600b\ufffdc"
    assert "".join(delta.content for delta in deltas) == samples[0].text
    assert samples[0].altered == ("bad_unicode",)
    samples[0].text.encode()


async def test_surrogates_in_logprobs_do_not_break_the_record() -> None:
    raw = (
        rb'data: {"model":"\udc00","choices":[{"index":0,"delta":{"content":"a"},"logprobs":'
        rb'{"content":[{"token":"\ud800","logprob":-1}]},"finish_reason":"stop"}]}'
    )
    async with faked(always(events(raw + b"\n\n"))) as (_, engine):
        task = a_task(parameters=Parameters(logprobs=True))
        samples, error = await take(begin(engine, 2, task=task))
    stored = a_group(Scored(sample=samples[0], answer=Answer(kind="none", rule=None)))

    assert error is None
    assert Group.from_json(stored.to_json()) == stored


async def test_choices_that_nobody_asked_for_are_ignored() -> None:
    more = [
        {"index": i, "message": {"content": str(i)}, "finish_reason": "stop"} for i in (0, 1, 9)
    ]
    async with faked(always(json_reply({"choices": more}))) as (_, engine):
        samples, error = await take(begin(engine))

    assert error is None
    assert [sample.text for sample in samples] == ["0"]


async def test_a_prompt_that_strict_json_cannot_hold_is_sent_all_the_same() -> None:
    async with faked(scripted("4")) as (fake, engine):
        task = a_task("\ud800", tools=({"max": 2**70},))
        _, error = await take(begin(engine, task=task))

    assert error is None
    assert fake.drawn[0].body["tools"] == [{"max": 2**70}]
