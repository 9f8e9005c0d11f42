"""Chat completions end to end: a real gateway in front of a real, scripted upstream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fakes.upstream import (
    Cut,
    FakeUpstream,
    Pause,
    chunk,
    error_reply,
    events,
    in_turn,
    piece,
    scripted,
    usage,
)
from tests.running import RunningGateway

Start = Callable[..., RunningGateway]
HI = {"model": "auto", "messages": [{"role": "user", "content": "Say hi in one word."}]}
LIVE = {**HI, "stream": True, "verify": {"mode": "off"}}
SUM = {"model": "auto", "messages": [{"role": "user", "content": "What is 19 + 23?"}]}
PATH = "/v1/chat/completions"


async def post(url: str, body: Any, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        if isinstance(body, bytes):
            return await client.post(PATH, content=body, **options)
        return await client.post(PATH, json=body, **options)


def payloads(reply: httpx.Response) -> list[Any]:
    """What the `data:` lines carry; every other line must be a comment."""
    lines = [line for line in reply.text.split("\n") if line]
    assert all(line.startswith((":", "data: ")) for line in lines)
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in data]


def text_of_stream(found: list[Any]) -> str:
    return "".join(p["choices"][0]["delta"].get("content") or "" for p in found if p != "[DONE]")


async def test_a_reply_carries_its_trace_in_body_and_headers(gateway: Start) -> None:
    async with FakeUpstream(scripted("Hi")) as fake:
        reply = await post(gateway(fake.url).url, HI)

    body = reply.json()
    assert (reply.status_code, body["choices"][0]["message"]["content"]) == (200, "Hi")
    assert body["id"] == body["verification"]["trace_id"] == reply.headers["x-verivote-trace-id"]
    for name in ("status", "route", "samples", "cache"):
        assert reply.headers[f"x-verivote-{name}"]
    assert reply.headers["x-request-id"].startswith("req_")


async def test_the_path_without_v1_is_the_same(gateway: Start) -> None:
    async with (
        FakeUpstream(scripted("Hi")) as fake,
        httpx.AsyncClient(base_url=gateway(fake.url).url) as client,
    ):
        reply = await client.post("/chat/completions", json=HI)

    assert reply.json()["object"] == "chat.completion"


async def test_usage_sums_all_samples(gateway: Start) -> None:
    async with FakeUpstream(scripted("41", "40", "42")) as fake:
        body = (await post(gateway(fake.url).url, SUM)).json()

    samples = body["verification"]["samples"]
    assert samples >= 3
    assert body["usage"]["completion_tokens"] == samples
    assert body["usage"]["verification"] == {"samples": samples, "winner_tokens": 1}


async def test_a_live_stream_is_shown_while_it_is_generated(gateway: Start) -> None:
    async with FakeUpstream(scripted("one two three")) as fake:
        found = payloads(await post(gateway(fake.url).url, LIVE))

    assert len([p for p in found[:-1] if p["choices"][0]["delta"].get("content")]) > 1
    assert text_of_stream(found) == "one two three"
    assert found[-1] == "[DONE]"


async def test_the_vote_path_sends_comments_and_then_the_winner(gateway: Start) -> None:
    async with FakeUpstream(scripted("The answer is 42", word_s=0.1)) as fake:
        running = gateway(fake.url, server={"stream_comment_s": 0.05})
        reply = await post(running.url, {**SUM, "stream": True})

    assert ": waiting" in reply.text
    found = payloads(reply)
    assert text_of_stream(found) == "The answer is 42"
    assert found[0]["verification"] == {"trace_id": found[0]["id"]}
    assert found[-2]["verification"]["status"] == "verified"


async def test_stream_headers_keep_proxies_from_buffering(gateway: Start) -> None:
    async with FakeUpstream(scripted("Hi")) as fake:
        headers = (await post(gateway(fake.url).url, LIVE)).headers

    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
    assert headers["x-verivote-trace-id"].startswith("chatcmpl-")


async def test_pc_001_no_chunk_without_choices_unless_usage_was_asked_for(gateway: Start) -> None:
    upstream = events(
        chunk(prompt_filter_results=[{"prompt_index": 0}]),
        chunk({"index": 0, "delta": {"role": "assistant", "content": ""}}),
        chunk(piece("Hi")),
        chunk({"index": 0, "delta": {}, "finish_reason": "stop"}),
        chunk(usage=usage(11, 2)),
    )
    async with FakeUpstream(lambda request: upstream) as fake:
        url = gateway(fake.url).url
        found = payloads(await post(url, LIVE))[:-1]
        with_usage = payloads(await post(url, {**LIVE, "stream_options": {"include_usage": True}}))[
            :-1
        ]

    assert all(payload["choices"] for payload in found)
    assert text_of_stream(found) == "Hi"
    assert [p["choices"][0]["finish_reason"] for p in found if p["choices"]][-1] == "stop"
    assert not any("usage" in payload for payload in found)
    assert (with_usage[-1]["choices"], with_usage[-1]["usage"]["total_tokens"]) == ([], 13)
    assert all(payload["usage"] is None for payload in with_usage[:-1])


async def test_pc_004_comments_of_the_upstream_stay_comments(gateway: Start) -> None:
    upstream = events(
        b": WORKING\n\n",
        Pause(0.3),
        b": WORKING\n\n",
        chunk(piece("Lima")),
        b": WORKING\n\n",
        chunk({"index": 0, "delta": {}, "finish_reason": "stop"}),
    )
    async with FakeUpstream(lambda request: upstream) as fake:
        running = gateway(fake.url, server={"stream_comment_s": 0.05})
        reply = await post(running.url, LIVE)

    assert text_of_stream(payloads(reply)) == "Lima"
    assert reply.text.index(": waiting") < reply.text.index("Lima")


@pytest.mark.parametrize("body", [LIVE, {**SUM, "stream": True, "verify": {"mode": "always"}}])
async def test_pc_008_a_cut_stream_ends_in_an_error_and_never_in_stop(
    gateway: Start, body: dict[str, Any]
) -> None:
    upstream = events(chunk(piece("apple, ")), chunk(piece("pea")), Cut(), done=False)
    async with FakeUpstream(lambda request: upstream) as fake:
        running = gateway(fake.url)
        found = payloads(await post(running.url, body))
        trace_id = found[0]["id"]
        async with httpx.AsyncClient(base_url=running.url) as client:
            trace = (await client.get(f"/v1/traces/{trace_id}")).json()

    assert found[-1]["error"]["message"]
    assert all(p["choices"][0]["finish_reason"] is None for p in found if "choices" in p)
    assert trace["group"]["error"]["code"] == found[-1]["error"]["code"]
    assert not any(scored["sample"]["trainable"] for scored in trace["group"]["scored"])


async def test_an_unreachable_upstream_is_502_with_retry_after(gateway: Start) -> None:
    reply = await post(gateway("http://127.0.0.1:9/v1").url, HI)

    assert (reply.status_code, reply.json()["error"]["type"]) == (502, "upstream_error")
    assert reply.headers["retry-after"] == "1"
    assert reply.headers["x-verivote-status"] == "failed"


async def test_a_refusal_of_the_upstream_reaches_the_client(gateway: Start) -> None:
    refused = error_reply(400, "too long", code="context_length_exceeded", param="messages")
    async with FakeUpstream(in_turn(refused)) as fake:
        reply = await post(gateway(fake.url).url, HI)

    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_can_be_refused_is_refused_before_anything_is_sent(
    gateway: Start, stream: bool
) -> None:
    verify = {"verifiers": [{"use": "number", "reference": "4"}, {"use": "nubmer"}]}
    async with FakeUpstream(scripted("4")) as fake:
        reply = await post(gateway(fake.url).url, {**SUM, "stream": stream, "verify": verify})
        drawn = len(fake.drawn)

    assert (reply.status_code, drawn) == (400, 0)
    assert reply.json()["error"]["param"] == "verify.verifiers[1].use"


async def test_an_unverified_answer_is_422_when_the_client_says_so(gateway: Start) -> None:
    verify = {"on_unverified": "error", "n": 2}
    async with FakeUpstream(scripted("41")) as fake:
        url = gateway(fake.url).url
        reply = await post(url, {**SUM, "verify": verify})
        stream = payloads(await post(url, {**SUM, "verify": verify, "stream": True}))

    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (422, "verification_failed")
    assert error["verification"]["status"] == "unverified"
    assert reply.headers["x-should-retry"] == "false"
    assert stream[-1]["error"]["code"] == "verification_failed"


async def test_n_choices_come_back_distinct_and_indexed(gateway: Start) -> None:
    async with FakeUpstream(scripted("41", "42", "43")) as fake:
        body = (await post(gateway(fake.url).url, {**SUM, "n": 2})).json()

    choices = body["choices"]
    assert [choice["index"] for choice in choices] == [0, 1]
    assert choices[0]["message"]["content"] == "42"
    assert choices[1]["message"]["content"] != "42"


async def test_more_requests_than_places_are_refused_and_the_place_is_given_back(
    gateway: Start,
) -> None:
    async with FakeUpstream(scripted("Hi there", word_s=0.3)) as fake:
        url = gateway(fake.url, server={"max_inflight": 1}).url
        async with httpx.AsyncClient(base_url=url) as client:
            async with client.stream("POST", PATH, json=LIVE) as open_stream:
                refused = await client.post(PATH, json=HI)
                async for _ in open_stream.aiter_bytes():
                    pass
            after = await client.post(PATH, json=HI)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_is_overloaded")
    assert refused.headers["retry-after"] == "1"
    assert after.status_code == 200


async def test_a_bad_request_gives_its_place_back(gateway: Start) -> None:
    async with FakeUpstream(scripted("Hi")) as fake:
        url = gateway(fake.url, server={"max_inflight": 1}).url
        for _ in range(3):
            assert (await post(url, b"{")).status_code == 400
        reply = await post(url, HI)

    assert reply.status_code == 200


async def test_a_large_body_is_413_in_openais_form(gateway: Start) -> None:
    async def pieces() -> Any:
        for _ in range(40):
            yield b" " * 65_536

    async with FakeUpstream(scripted("Hi")) as fake:
        url = gateway(fake.url, server={"max_body_bytes": 2**20}).url
        declared = await post(url, b"x" * (2**21))
        async with httpx.AsyncClient(base_url=url) as client:
            chunked = await client.post(PATH, content=pieces())

    for reply in (declared, chunked):
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_body_past_the_inline_limit_is_answered_too(gateway: Start) -> None:
    long = {**HI, "messages": [{"role": "user", "content": "word " * 80_000}]}
    async with FakeUpstream(scripted("Hi")) as fake:
        reply = await post(gateway(fake.url).url, long)

    assert reply.status_code == 200


async def test_ignored_parameters_are_listed_and_cannot_forge_headers(gateway: Start) -> None:
    odd = {**HI, "a\r\nset-cookie: x": 1, "é": 2, "moderation": {}}
    async with FakeUpstream(scripted("Hi")) as fake:
        reply = await post(gateway(fake.url).url, odd)

    assert reply.headers["x-verivote-ignored-params"] == "a??set-cookie: x, moderation, ?"
    assert "set-cookie" not in reply.headers


async def test_client_faults_leave_no_warning_in_the_log(
    gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeUpstream(scripted("Hi")) as fake:
        url = gateway(fake.url).url
        for body in (b"", b"\x00", b"[]", b"{}", json.dumps({**HI, "n": 0}).encode()):
            assert (await post(url, body)).status_code == 400

    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("stream", [False, True])
async def test_pc_032_json_is_served_without_its_fence(gateway: Start, stream: bool) -> None:
    fenced = '```json\n{"name":"Ada","age":36}\n```'
    schema = {"name": "person", "strict": True, "schema": PERSON}
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Invent a person."}],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "stream": stream,
    }
    async with FakeUpstream(scripted(fenced)) as fake:
        reply = await post(gateway(fake.url).url, body)

    if stream:
        text = text_of_stream(payloads(reply))
    else:
        text = reply.json()["choices"][0]["message"]["content"]
    assert json.loads(text) == {"name": "Ada", "age": 36}


async def test_an_invalid_schema_is_told_by_its_path(gateway: Start) -> None:
    schema = {"name": "person", "schema": {"type": "persn"}}
    body = {**HI, "response_format": {"type": "json_schema", "json_schema": schema}}
    async with FakeUpstream(scripted("{}")) as fake:
        reply = await post(gateway(fake.url).url, body)

    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith("response_format.json_schema.schema")
