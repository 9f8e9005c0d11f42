"""The engine for OpenAI-compatible servers, in front of one that misbehaves on order."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from typing import Any

import pytest

from app.engines.openai import OpenAIEngine
from app.engines.wire import PROGRAM_WANTED
from app.errors import EngineError, EngineGarbage, EngineUnavailable, Overloaded
from app.group import Group
from app.sample import Delta, Scored
from app.settings import EngineSettings
from app.task import Parameters
from tests.builders import a_group, a_plan, a_task
from tests.engines.drawing import an_engine, begin, faked, take
from tests.fakes.upstream import (
    HOLD,
    Behaviour,
    Cut,
    FakeUpstream,
    Pause,
    Request,
    Steps,
    always,
    chunk,
    error_reply,
    events,
    holding,
    in_turn,
    json_reply,
    model_list,
    piece,
    refusing,
    scripted,
    usage,
)
from verifiers.base import Answer

VLLM = always(model_list("smol", owned_by="vllm"))


async def test_a_round_is_one_call_of_n_where_the_server_gives_n() -> None:
    async with faked(scripted("4", "5", "4")) as (fake, engine):
        drawing = begin(engine, 3)
        samples, error = await take(drawing)

    assert error is None
    assert [s.text for s in sorted(samples, key=lambda s: s.index)] == ["4", "5", "4"]
    assert [request.body["n"] for request in fake.drawn] == [3]
    assert [(call.n, call.prompt_tokens, call.error) for call in drawing.calls] == [(3, 7, "")]


async def test_a_server_that_ignores_n_is_filled_up_by_parallel_calls_and_remembered() -> None:
    """pc-005: HTTP 200 with exactly one choice whatever `n` says."""
    async with faked(scripted("Canberra", ignores_n=True)) as (fake, engine):
        drawing = begin(engine, 5)
        samples, error = await take(drawing)
        first_round = len(fake.drawn)
        await take(begin(engine, 2, round=2, first_index=5))
        known = await engine.capabilities()

    assert error is None
    assert sorted(s.index for s in samples) == [0, 1, 2, 3, 4]
    assert len({s.call for s in samples}) == len(drawing.calls) == first_round == 5
    assert sum(s.completion_tokens for s in samples) == 5
    assert ["n" in request.body for request in fake.drawn] == [True] + [False] * 6
    assert known.n is False


async def test_a_server_that_refuses_n_is_asked_in_parallel() -> None:
    async with faked(refusing("n", otherwise=scripted("4"))) as (fake, engine):
        samples, error = await take(begin(engine, 3))

    assert error is None
    assert len(samples) == 3
    assert len(fake.drawn) == 4


async def test_parallel_calls_carry_different_seeds_and_a_round_repeats_its_own() -> None:
    async with faked(scripted("4", ignores_n=True)) as (fake, engine):
        await take(begin(engine, 3, seed=2**63 - 1))
        await take(begin(engine, 3, seed=2**63 - 1))
    seeds = sorted(request.body["seed"] for request in fake.drawn)

    assert seeds == sorted([2**63 - 1, 0, 1] * 2)


@pytest.mark.parametrize(
    "field", ["logprobs", "seed", "return_token_ids", "cache_salt", "stream_options", "top_k"]
)
async def test_a_server_that_refuses_an_optional_field_works_without_it(field: str) -> None:
    behaviour = refusing(field, otherwise=scripted("4", "4"))
    async with faked(behaviour, VLLM) as (fake, engine):
        await engine.capabilities()
        fake.requests.clear()
        samples, error = await take(begin(engine, 2, plan=a_plan(temperature=1)))
        first_round = len(fake.drawn)
        await take(begin(engine, 2, plan=a_plan(temperature=1)))

    assert (error, len(samples)) == (None, 2)
    assert (first_round, len(fake.drawn)) == (2, 3)


async def test_a_law_that_the_server_would_not_take_bars_its_samples_from_training() -> None:
    behaviour = refusing("top_k", otherwise=scripted("4", extras=True))
    async with faked(behaviour, VLLM) as (_, engine):
        rounds = [await take(begin(engine, 2, plan=a_plan(temperature=1))) for _ in range(2)]
    plain = refusing("nothing", otherwise=scripted("4", extras=True))
    async with faked(plain, VLLM) as (fake, engine):
        samples, _ = await take(begin(engine, 2, plan=a_plan(temperature=1)))

    assert {s.not_trainable for drawn, _ in rounds for s in drawn} == {"server_defaults"}
    assert all(sample.trainable for sample in samples)
    assert (fake.drawn[-1].body["top_k"], fake.drawn[-1].body["top_p"]) == (0, 1.0)


async def test_a_server_that_only_knows_max_completion_tokens_gets_that() -> None:
    refusal = error_reply(
        400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    )
    async with faked(in_turn(refusal, scripted("4"))) as (fake, engine):
        samples, error = await take(begin(engine, plan=a_plan(max_tokens=9)))

    assert (error, len(samples)) == (None, 1)
    assert fake.drawn[1].body["max_completion_tokens"] == 9
    assert "max_tokens" not in fake.drawn[1].body


async def test_a_field_that_the_client_asked_for_is_not_dropped() -> None:
    task = a_task(parameters=Parameters(logprobs=True))
    async with faked(refusing("logprobs", otherwise=scripted("4"))) as (_, engine):
        samples, error = await take(begin(engine, task=task))

    assert samples == []
    assert (error.http_status, error.param) == (400, "logprobs")  # type: ignore[union-attr]


async def test_vllm_is_asked_for_token_ids_and_a_salt_of_the_tenant() -> None:
    async with faked(scripted("4 5", "6", extras=True), VLLM) as (fake, engine):
        await engine.capabilities()
        drawing = begin(engine, 2)
        samples, _ = await take(drawing)
        other = begin(engine, 2, task=a_task(tenant="other"))
        await take(other)
    asked = [request.body for request in fake.drawn[-2:]]

    assert {len(s.token_ids or ()) for s in samples} == {1, 2}
    assert all(s.logprobs == (-0.5,) * s.completion_tokens for s in samples)
    assert drawing.calls[0].prompt_token_ids == tuple(range(7))
    assert asked[0]["return_token_ids"] is True
    assert asked[0]["cache_salt"] != asked[1]["cache_salt"]
    assert "local" not in asked[0]["cache_salt"]


async def test_a_plain_server_is_not_sent_fields_that_only_vllm_knows() -> None:
    async with faked(scripted("4")) as (fake, engine):
        await take(begin(engine, 2))

    assert not {"return_token_ids", "cache_salt", "top_k"} & set(fake.drawn[0].body)


@pytest.mark.parametrize(
    ("policy", "configured", "alias", "expected"),
    [
        ("policy-3", "big", "small", "policy-3"),
        ("", "big", "small", "small"),
        ("", "big", "auto", "big"),
        ("", "", "auto", "first"),
    ],
)
async def test_the_model_is_the_plans_else_the_alias_else_the_configured_else_the_first(
    policy: str, configured: str, alias: str, expected: str
) -> None:
    models = always(model_list("first", "small"))
    async with faked(scripted("4"), models, model=configured) as (fake, engine):
        await take(begin(engine, task=a_task(alias=alias), plan=a_plan(policy=policy)))

    assert fake.drawn[0].body["model"] == expected


async def test_what_the_client_asked_for_is_sent_on() -> None:
    wanted = Parameters(
        stop=("\n",),
        presence_penalty=0.5,
        logit_bias={"5": 1.0},
        top_logprobs=2,
        logprobs=True,
        extra={"top_k": 3},
    )
    task = a_task(
        parameters=wanted,
        tools=({"type": "function", "function": {"name": "f"}},),
        tool_choice="auto",
        response_format={"type": "json_object"},
    )
    async with faked(scripted("4")) as (fake, engine):
        await take(begin(engine, task=task, plan=a_plan(temperature=0.3, top_p=0.9)))
    sent = fake.drawn[0].body

    assert sent["stop"] == ["\n"]
    assert (sent["temperature"], sent["top_p"], sent["top_k"]) == (0.3, 0.9, 3)
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["tools"][0]["function"]["name"] == "f"


# Streams ----------------------------------------------------------------------------------------


async def live(steps: Steps, **settings: Any) -> tuple[list[Delta], list[Any], Any, Any]:
    """One live sample: its deltas, the samples, the error and the calls."""
    deltas: list[Delta] = []
    async with faked(always(steps), **settings) as (_, engine):
        drawing = begin(engine, on_delta=deltas.append)
        samples, error = await take(drawing)
    return deltas, samples, error, drawing.calls


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


# Faults -----------------------------------------------------------------------------------------

CUT_JSON = Steps((b'{"choices": [{"index": 0, "mess',))
LONG_LINE = events(b'data: {"choices": "' + b"x" * 10_000_000 + b'"}\n\n')
GARBAGE: dict[str, Steps] = {
    "truncated json": CUT_JSON,
    "wrong content type": Steps((b"<html>hi</html>",), content_type="text/html"),
    "200 with an error": error_reply(200, "out of memory"),
    "a line of 10 MB": LONG_LINE,
    "not json in a stream": events(b"data: hello\n\n"),
    "a list": json_reply([1, 2]),
    "a number": json_reply(7),
    "no choices": json_reply({"id": "x"}),
    "empty choices": json_reply({"choices": []}),
    "choices of text": json_reply({"choices": "none"}),
    "a choice of null": json_reply({"choices": [None]}),
    "content of numbers": json_reply({"choices": [{"message": {"content": 5}}]}),
    "finish reason of numbers": json_reply(
        {"choices": [{"message": {"content": "5"}, "finish_reason": 5}]}
    ),
    "no finish reason": json_reply({"choices": [{"index": 0, "message": {"content": "5"}}]}),
    "token ids of text": json_reply({"choices": [{"message": {}, "token_ids": ["a"]}]}),
    "tool calls of text": json_reply({"choices": [{"message": {"tool_calls": "f()"}}]}),
    "a redirect": Steps((b"",), status=302, headers={"location": "http://127.0.0.1:9/"}),
    "empty body": Steps((b"",)),
    "an empty stream": events(),
    "a stream without end": events(*[b": " + b"x" * 2**19 + b"\n\n"] * 70),
    "a reply of 40 MB": Steps((b'{"choices": "' + b"x" * 40_000_000,)),
    "an error in a stream": events({"error": {"message": "lost", "code": "x"}}, done=False),
    "aborted by the server": events(chunk(piece("5", finish="abort"))),
}


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("fault", GARBAGE)
async def test_garbage_is_a_clear_error_for_one_sample_and_for_many(fault: str, n: int) -> None:
    async with faked(always(GARBAGE[fault]), retries=0) as (_, engine):
        drawing = begin(engine, n)
        samples, error = await take(drawing)

    assert isinstance(error, EngineGarbage)
    assert error.http_status == 502
    assert all(sample.finish_reason is None for sample in samples)
    assert {call.error for call in drawing.calls} == {"upstream_bad_response"}


@pytest.mark.parametrize(
    "raw", [b"\x00\xff garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b""]
)
async def test_a_server_that_does_not_speak_http_cannot_be_reached(raw: bytes) -> None:
    async with faked(always(Steps((raw,), raw=True)), retries=0) as (_, engine):
        _, error = await take(begin(engine))

    assert isinstance(error, EngineError)
    assert error.http_status == 502


@pytest.mark.parametrize("body", [b'{"choices": [{"ind', b""])
async def test_a_whole_reply_that_is_cut_is_an_error(body: bytes) -> None:
    async with faked(always(Steps((body, Cut())))) as (_, engine):
        _, error = await take(begin(engine))

    assert isinstance(error, EngineError)
    assert error.http_status == 502


async def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    async with faked(scripted("4")) as (fake, _):
        url = fake.url
    async with an_engine(url, retries=1) as engine:
        drawing = begin(engine, 2)
        samples, error = await take(drawing)
        is_up = await engine.is_up()

    assert (samples, is_up) == ([], False)
    assert isinstance(error, EngineUnavailable)
    assert "cannot be reached" in error.message
    assert error.retry_after_s == 1.0
    assert drawing.calls[0].attempts == 2


@pytest.mark.parametrize("n", [1, 2])
async def test_silence_before_the_first_byte_is_a_timeout(n: int) -> None:
    async with faked(holding(), first_byte_s=0.1, request_s=0.2, retries=0) as (fake, engine):
        _, error = await take(begin(engine, n))
        closed = await fake.until(lambda: fake.open_sockets <= 1)

    assert (error.http_status, error.error_code) == (504, "upstream_timeout")  # type: ignore[union-attr]
    assert closed


async def test_silence_inside_a_stream_is_a_timeout_and_keeps_what_came() -> None:
    steps = events(chunk(piece("4 and")), HOLD, done=False)
    _, samples, error, _ = await live(steps, idle_s=0.1)

    assert error.error_code == "upstream_timeout"
    assert [(s.text, s.finish_reason) for s in samples] == [("4 and", None)]


async def test_a_slow_drip_outlives_the_idle_limit_but_not_the_request() -> None:
    drip = [step for word in "abcdefgh" for step in (Pause(0.05), chunk(piece(word)))]
    _, samples, error, _ = await live(
        events(*drip, done=False, then=[HOLD]), idle_s=2, request_s=0.5
    )

    assert error.error_code == "upstream_timeout"
    assert samples[0].text.startswith("abc")


async def test_a_head_without_a_body_is_a_timeout() -> None:
    async with faked(holding(after_head=True), first_byte_s=0.1) as (_, engine):
        _, error = await take(begin(engine, 2))

    assert error.error_code == "upstream_timeout"  # type: ignore[union-attr]


# Retries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_server_is_asked_again(status: int) -> None:
    busy = error_reply(status, "busy", retry_after="0")
    async with faked(in_turn(busy, scripted("4"))) as (fake, engine):
        drawing = begin(engine)
        samples, error = await take(drawing)

    assert (error, len(samples), len(fake.drawn)) == (None, 1, 2)
    assert drawing.calls[0].attempts == 2


async def test_a_failed_server_is_not_asked_again() -> None:
    async with faked(in_turn(error_reply(500, "bug"), scripted("4"))) as (fake, engine):
        _, error = await take(begin(engine))

    assert (error.http_status, len(fake.drawn)) == (502, 1)  # type: ignore[union-attr]


async def test_nothing_is_retried_after_the_first_byte() -> None:
    cut = events(chunk(piece("4")), done=False, then=[Cut()])
    async with faked(in_turn(cut, scripted("5"))) as (fake, engine):
        await take(begin(engine, on_delta=lambda delta: None))

    assert len(fake.drawn) == 1


async def test_a_long_retry_after_is_passed_on_instead_of_waited_for() -> None:
    limited = error_reply(429, "slow down", retry_after="30")
    async with faked(always(limited)) as (fake, engine):
        _, error = await take(begin(engine))

    assert error is not None
    assert (error.http_status, error.type, error.retry_after_s) == (429, "rate_limit_error", 30.0)
    assert len(fake.drawn) == 1


async def test_a_storm_of_failures_costs_at_most_a_fifth_more_calls() -> None:
    busy = error_reply(503, "busy", retry_after="0")
    async with faked(always(busy), retries=5) as (fake, engine):
        for _ in range(30):
            await take(begin(engine))

    assert len(fake.drawn) <= 30 * 1.2 + 3


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (400, {"message": "bad", "code": "c", "param": "p"}, (400, "c", "p")),
        (413, {"message": "big"}, (413, "invalid_value", None)),
        (422, {"message": "bad", "code": 422}, (400, "invalid_value", None)),
        (404, {"message": "no such model", "code": 404}, (404, "model_not_found", None)),
        (404, {"message": "File Not Found"}, (502, "upstream_error", None)),
        (401, {"message": "bad key", "code": "invalid_api_key"}, (502, "upstream_error", None)),
        (403, {"message": "no"}, (502, "upstream_error", None)),
        (500, {"message": "bug"}, (502, "upstream_error", None)),
        (418, {"message": "teapot"}, (502, "upstream_error", None)),
    ],
)
async def test_a_refusal_is_the_clients_only_when_the_request_is_at_fault(
    status: int, said: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    async with faked(always(json_reply({"error": said}, status)), retries=0) as (_, engine):
        _, error = await take(begin(engine))

    assert error is not None
    assert (error.http_status, error.error_code, error.param) == expected


async def test_a_refusal_by_a_pydantic_server_says_what_it_said() -> None:
    detail = [{"loc": ["body", "messages"], "msg": "Field required"}]
    async with faked(always(json_reply({"detail": detail}, 422))) as (_, engine):
        _, error = await take(begin(engine))

    assert error is not None
    assert (error.http_status, "Field required" in error.message) == (400, True)


async def test_one_failed_call_of_many_is_only_missing() -> None:
    turns = in_turn(
        scripted("4", ignores_n=True), error_reply(500, "bug"), scripted("4", ignores_n=True)
    )
    async with faked(turns) as (_, engine):
        drawing = begin(engine, 3)
        samples, error = await take(drawing)

    assert error is None
    assert [s.text for s in samples] == ["4", "4"]
    assert sorted(call.error for call in drawing.calls) == ["", "", "upstream_error"]


# Cancellation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ignores_n", [False, True], ids=["one call", "parallel calls"])
@pytest.mark.parametrize("n", [1, 8])
async def test_cancel_closes_every_socket_before_the_first_byte(n: int, ignores_n: bool) -> None:
    """pc-042: the server holds every request; nothing new is sent after the cancel."""
    async with faked(scripted("4", ignores_n=True)) as (fake, engine):
        if ignores_n:
            await take(begin(engine, 2))
        fake.completions = holding()
        await fake.until(lambda: True)
        before = len(fake.drawn)
        drawing = begin(engine, n, round=2, first_index=2)
        waiting = asyncio.ensure_future(take(drawing))
        expected = n if ignores_n else 1
        assert await fake.until(lambda: len(fake.drawn) == before + expected)
        held = [fake.sockets[request.socket] for request in fake.drawn[before:]]
        started = time.monotonic()
        left = await drawing.cancel()
        closed = await fake.until(lambda: all(socket.closed_at for socket in held), within_s=1.0)
        waiting.cancel()

    assert left == ()
    assert closed, [socket.closed_at for socket in held]
    assert max(socket.closed_at or 0 for socket in held) - started < 1.0
    assert len(fake.drawn) == before + expected
    assert {call.error for call in drawing.calls} == {"cancelled"}


async def test_cancel_in_the_middle_returns_what_was_received_once() -> None:
    async with faked(scripted("one two three four five six", word_s=0.05)) as (fake, engine):
        drawing = begin(engine, 4)
        waiting = asyncio.ensure_future(take(drawing))
        await asyncio.sleep(0.18)
        left = await drawing.cancel()
        again = await drawing.cancel()
        closed = await fake.until(lambda: fake.open_sockets <= 1, within_s=1.0)
        samples, error = await waiting

    assert closed
    assert (samples, error, again) == ([], None, ())
    assert [s.index for s in left] == [0, 1, 2, 3]
    assert all(s.cancelled and s.finish_reason is None and not s.trainable for s in left)
    assert all(1 <= s.completion_tokens <= 5 for s in left)


async def test_cancel_before_and_after_is_harmless() -> None:
    async with faked(scripted("4")) as (fake, engine):
        unborn = begin(engine, 2)
        assert await unborn.cancel() == ()
        assert await take(unborn) == ([], None)
        drawing = begin(engine, 2)
        await take(drawing)
        assert await drawing.cancel() == ()

    assert len(fake.drawn) == 1


async def test_a_cancelled_round_gives_its_room_back() -> None:
    async with faked(holding(), max_inflight=2) as (fake, engine):
        for _ in range(3):
            drawing = begin(engine, 2)
            waiting = asyncio.ensure_future(take(drawing))
            before = len(fake.drawn)
            assert await fake.until(lambda before=before: len(fake.drawn) > before)
            await drawing.cancel()
            await waiting

    assert len(fake.drawn) == 3


async def test_a_round_without_room_is_overload() -> None:
    async with faked(holding(), max_inflight=2) as (fake, engine):
        first = begin(engine, 2)
        waiting = asyncio.ensure_future(take(first))
        await fake.until(lambda: len(fake.drawn) == 1)
        _, error = await take(begin(engine, 2))
        await first.cancel()
        await waiting

    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 1.0


# The server's own -------------------------------------------------------------------------------


async def test_a_key_is_read_from_the_environment() -> None:
    async with faked(scripted("4"), api_key="env:PATH") as (fake, engine):
        await take(begin(engine))

    assert fake.drawn[0].headers["authorization"] == f"Bearer {os.environ['PATH']}"


async def test_a_key_that_is_not_in_the_environment_is_named() -> None:
    async with faked(scripted("4"), api_key="env:VERIVOTE_NOT_SET") as (fake, engine):
        _, error = await take(begin(engine))

    assert error is not None
    assert "VERIVOTE_NOT_SET" in error.message
    assert "engines.main.api_key" in error.message
    assert fake.requests == []


async def test_an_engine_that_was_closed_is_not_up_and_cannot_draw() -> None:
    async with faked(scripted("4")) as (_, engine):
        await take(begin(engine))
        await engine.close()
        _, error = await take(begin(engine))
        is_up = await engine.is_up()

    assert isinstance(error, EngineUnavailable)
    assert is_up is False


async def test_models_are_the_servers() -> None:
    async with faked(scripted("4"), always(model_list("a/b:1", "c"))) as (_, engine):
        models = await engine.models()

    assert [(model.id, model.owned_by) for model in models] == [("a/b:1", "fake"), ("c", "fake")]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (model_list("m"), True),
        (error_reply(404, "no list"), True),
        (error_reply(503, "loading"), False),
        (error_reply(401, "key"), False),
    ],
)
async def test_is_up_means_that_the_server_answers(steps: Steps, expected: bool) -> None:
    async with faked(scripted("4"), always(steps)) as (fake, engine):
        is_up = await engine.is_up()

    assert is_up is expected
    assert fake.drawn == []


async def test_a_draw_costs_one_probe_and_later_ones_none() -> None:
    async with faked(scripted("4")) as (fake, engine):
        await take(begin(engine))
        await take(begin(engine))

    assert [request.method for request in fake.requests] == ["GET", "POST", "POST"]


async def test_samples_know_where_and_when_they_came_from() -> None:
    ticks = itertools.count()
    async with FakeUpstream(scripted("4")) as fake:
        engine = OpenAIEngine(
            EngineSettings(base_url=fake.url), "main", clock=lambda: float(next(ticks))
        )
        drawing = begin(engine, 2, task=a_task(received_at=0.0), round=3, first_index=5, seed=9)
        samples, _ = await take(drawing)
        await engine.close()
    sample = samples[0]

    assert sorted(s.index for s in samples) == [5, 6]
    assert (sample.round, sample.call, sample.choice, sample.seed) == (3, 5, 0, 9)
    assert 0 <= sample.started_ms < (sample.first_token_ms or 0) <= sample.finished_ms
    assert drawing.calls[0].finished_ms >= sample.finished_ms


def by_kind(texts: Behaviour, programs: Behaviour) -> Behaviour:
    """A model that writes a program where it is asked for one."""

    def answer(request: Request) -> Steps:
        wanted = PROGRAM_WANTED in request.body["messages"][-1]["content"]
        return (programs if wanted else texts)(request)

    return answer


async def test_texts_and_programs_of_a_round_are_one_call_each_at_the_same_time() -> None:
    upstream = by_kind(scripted("4", "5", word_s=0.2), scripted("print(4)", word_s=0.2))
    async with faked(upstream) as (fake, engine):
        drawing = begin(engine, 3, programs=1, first_index=3)
        samples, error = await take(drawing)

    assert error is None
    assert sorted((s.index, s.kind, s.text) for s in samples) == [
        (3, "text", "4"),
        (4, "text", "5"),
        (5, "program", "print(4)"),
    ]
    assert sorted(request.body.get("n", 1) for request in fake.drawn) == [1, 2]
    assert max(c.started_ms for c in drawing.calls) < min(c.finished_ms for c in drawing.calls)
    assert len({call.index for call in drawing.calls}) == len(drawing.calls) == 2
    assert len({call.seed for call in drawing.calls}) == 2


async def test_a_round_of_programs_alone_is_one_call() -> None:
    async with faked(scripted("print(4)")) as (fake, engine):
        samples, _ = await take(begin(engine, 2, programs=2))

    assert [s.kind for s in samples] == ["program", "program"]
    assert [request.body["n"] for request in fake.drawn] == [2]


async def test_programs_are_filled_up_where_the_server_ignores_n() -> None:
    upstream = by_kind(scripted("4", ignores_n=True), scripted("print(4)", ignores_n=True))
    async with faked(upstream) as (_fake, engine):
        drawing = begin(engine, 5, programs=2)
        samples, _ = await take(drawing)

    assert sorted((s.index, s.kind) for s in samples) == [
        *((i, "text") for i in range(3)),
        *((i, "program") for i in (3, 4)),
    ]
    assert len(drawing.calls) <= 5


async def test_a_program_is_never_trained_on_because_the_task_asked_for_none() -> None:
    plan = a_plan(temperature=1.0)
    upstream = by_kind(scripted("4", extras=True), scripted("print(4)", extras=True))
    async with faked(upstream, VLLM) as (_fake, engine):
        samples, _ = await take(begin(engine, 2, programs=1, plan=plan))

    told = {s.kind: (s.trainable, s.not_trainable) for s in samples}
    assert told == {"text": (True, ""), "program": (False, "program")}


async def test_texts_come_when_programs_fail_and_the_failed_call_is_kept() -> None:
    upstream = by_kind(scripted("4"), always(error_reply(500, "no")))
    async with faked(upstream, retries=0) as (_fake, engine):
        drawing = begin(engine, 3, programs=1)
        samples, error = await take(drawing)

    assert error is None
    assert [s.kind for s in samples] == ["text", "text"]
    assert sorted(call.error for call in drawing.calls) == ["", "upstream_error"]
