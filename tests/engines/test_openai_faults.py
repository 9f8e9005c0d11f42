"""What a server that breaks, is silent or refuses comes to, and what is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import EngineError, EngineGarbage, EngineUnavailable
from tests.engines.drawing import an_engine, begin, faked, live, take
from tests.fakes.upstream import (
    HOLD,
    Cut,
    Pause,
    Steps,
    always,
    chunk,
    error_reply,
    events,
    holding,
    in_turn,
    json_reply,
    piece,
    scripted,
)

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
