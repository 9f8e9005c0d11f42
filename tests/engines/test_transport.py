"""The transport behind httpx: a cut is a fault and not an end, and a closed reply is closed."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from app.engines.transport import TransportFault, describe, make_client
from tests.fakes.upstream import (
    HOLD,
    Cut,
    FakeUpstream,
    Pause,
    Step,
    Steps,
    always,
    holding,
    json_reply,
)

SSE = "text/event-stream"
LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf"


@pytest.mark.parametrize(
    "steps",
    [
        Steps((b"half", Cut()), content_type=SSE),
        Steps((b"half", Cut(reset=True)), content_type=SSE),
        Steps((LENGTH, Cut()), raw=True),
    ],
    ids=["chunked, closed", "chunked, reset", "by length"],
)
async def test_a_body_that_is_cut_is_a_fault(steps: Steps) -> None:
    async with FakeUpstream(always(steps)) as fake, make_client(1.0) as client:
        with pytest.raises(TransportFault) as caught:
            await client.post(fake.url, content=b"{}")

    assert describe(caught.value) == "the connection was closed or is not HTTP"


@pytest.mark.parametrize("first", [b"x", b""], ids=["in the body", "before it"])
async def test_closing_a_reply_closes_its_socket(first: bytes) -> None:
    steps: tuple[Step, ...] = (first, HOLD) if first else (HOLD,)
    held = always(Steps(steps, content_type=SSE))
    async with FakeUpstream(held) as fake, make_client(1.0) as client:
        request = client.build_request("POST", fake.url, content=b"{}")
        response = await client.send(request, stream=True)
        assert fake.open_sockets == 1
        await response.aclose()

        assert await fake.until(lambda: fake.open_sockets == 0, within_s=1.0)


async def test_cancelling_a_request_that_has_no_reply_yet_closes_its_socket() -> None:
    async with FakeUpstream(holding()) as fake, make_client(1.0) as client:
        request = asyncio.create_task(client.post(fake.url, content=b"{}"))
        assert await fake.until(lambda: len(fake.requests) == 1)
        request.cancel()

        assert await fake.until(lambda: fake.open_sockets == 0, within_s=1.0)


async def test_a_reply_read_to_its_end_leaves_its_socket_for_the_next() -> None:
    async with FakeUpstream(always(json_reply({}))) as fake, make_client(1.0) as client:
        for _ in range(3):
            await client.post(fake.url, content=b"{}")

        assert len(fake.sockets) == 1


async def test_cookies_of_the_server_are_not_sent_back() -> None:
    """One tenant's session at the server must not become another's."""
    steps = Steps((b"{}",), headers={"set-cookie": "who=a; Path=/"})
    async with FakeUpstream(always(steps)) as fake, make_client(1.0) as client:
        for _ in range(2):
            await client.post(fake.url, content=b"{}")

    assert [request.headers.get("cookie") for request in fake.requests] == [None, None]


async def test_nothing_listening_is_a_refused_connection() -> None:
    async with FakeUpstream(always(Steps((Pause(0),)))) as fake:
        url = fake.url
    async with make_client(1.0) as client:
        with pytest.raises(TransportFault) as caught:
            await client.post(url)

    assert describe(caught.value) == "the connection was refused"


async def test_a_name_that_is_none_is_said_so() -> None:
    async with make_client(30.0) as client:
        with pytest.raises(TransportFault) as caught:
            await client.post("http://nothing.invalid/v1")

    assert describe(caught.value) == "its name is not known"


async def test_a_server_that_does_not_accept_is_not_waited_for() -> None:
    """Its queue of connections is full, so the next one gets no answer at all."""
    with socket.socket() as listening, ExitStack() as others:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listening.getsockname())
        async with make_client(0.1) as client:
            with pytest.raises(TransportFault) as caught:
                await client.post(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")

    assert describe(caught.value) == "connecting took too long"
