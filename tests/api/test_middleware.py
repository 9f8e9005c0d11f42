"""The edge, in front of the smallest application."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api.middleware import MAX_HEADER_BYTES, Edge
from app.settings import ServerSettings


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """200 with the number of body bytes, in one header."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-size", b"%d" % size)]}
    )
    await send({"type": "http.response.body", "body": b""})


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("a bug with a secret in it")


async def ask(
    app: Any = echo, *, headers: Any = (), body: tuple[bytes, ...] = (b"",), **server: Any
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """One request through the edge: status, headers, decoded body."""
    left, sent = list(body), list[Message]()

    async def receive() -> Message:
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    await Edge(app, ServerSettings(**server))(scope, receive, send)
    named = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    text = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], named, json.loads(text) if text else {}


async def test_every_reply_has_a_request_id_and_its_duration() -> None:
    _, headers, _ = await ask()

    assert headers["x-request-id"].startswith("req_")
    assert headers["openai-processing-ms"].isdigit()


async def test_two_lengths_are_refused() -> None:
    both = [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")]

    status, _, body = await ask(headers=both)

    assert (status, body["error"]["code"]) == (400, "ambiguous_length")


async def test_oversized_headers_are_refused() -> None:
    status, _, body = await ask(headers=[(b"x-big", b"x" * MAX_HEADER_BYTES)])

    assert (status, body["error"]["code"]) == (431, "headers_too_large")


async def test_a_body_that_says_it_is_too_large_is_never_read() -> None:
    status, _, body = await ask(headers=[(b"content-length", b"2000")], max_body_bytes=1024)

    assert (status, body["error"]["code"]) == (413, "request_too_large")


async def test_a_body_without_a_length_is_read_up_to_the_limit_only() -> None:
    fits = await ask(body=(b"x" * 900, b"x" * 124), max_body_bytes=1024)
    status, _, body = await ask(body=(b"x" * 900, b"x" * 125, b"never read"), max_body_bytes=1024)

    assert (fits[0], fits[1]["x-size"]) == (200, "1024")
    assert (status, body["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:8080", 403),
        ("[broken", 403),
        ("models.internal", 200),
    ],
)
async def test_only_this_machine_and_named_hosts_are_answered_without_keys(
    host: str, status: int
) -> None:
    headers = [(b"host", host.encode())]

    assert status == (await ask(headers=headers, allowed_hosts=("models.internal",)))[0]


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:3000", 200), ("https://evil.example", 403), ("null", 403)],
)
async def test_a_page_of_another_site_is_refused_without_keys(origin: str, status: int) -> None:
    headers = [(b"host", b"127.0.0.1"), (b"origin", origin.encode())]

    assert status == (await ask(headers=headers))[0]


async def test_with_keys_any_host_is_answered() -> None:
    assert (await ask(headers=[(b"host", b"api.example")], keys="required"))[0] == 200


async def test_a_bug_is_one_log_line_and_a_500_that_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        status, headers, body = await ask(broken)

    assert (status, body["error"]["code"]) == (500, "internal_error")
    assert "secret" not in body["error"]["message"]
    assert headers["x-request-id"] in body["error"]["message"]
    assert len(caplog.records) == 1
