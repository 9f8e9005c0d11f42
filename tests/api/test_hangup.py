"""Who hangs up stops everything: pc-042 and its kin, with raw sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from tests.fakes.upstream import FakeUpstream, holding, scripted
from tests.running import RunningGateway

Start = Callable[..., RunningGateway]
HARD = {
    "model": "auto",
    "messages": [{"role": "user", "content": "What is 19 + 23?"}],
    "verify": {"mode": "always", "n": 8},
}
SINGLE = {**HARD, "verify": {"mode": "off"}}


async def send(url: str, body: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request on a socket of its own."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    raw = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {where.netloc}\r\n"
    writer.write(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
    await writer.drain()
    return reader, writer


def hang_up(writer: asyncio.StreamWriter, how: str) -> None:
    if how == "close":
        writer.close()
    elif how == "half-close":
        writer.write_eof()
    else:
        writer.transport.abort()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("after_head", [False, True])
async def test_pc_042_every_upstream_socket_closes_within_a_second(
    gateway: Start, caplog: pytest.LogCaptureFixture, stream: bool, how: str, after_head: bool
) -> None:
    async with FakeUpstream(holding(after_head)) as fake:
        running = gateway(fake.url)
        _, writer = await send(running.url, {**HARD, "stream": stream})
        assert await fake.until(lambda: len(fake.drawn) > 0)
        drawn = len(fake.drawn)
        hang_up(writer, how)
        begun = time.monotonic()
        closed = await fake.until(lambda: fake.open_sockets == 0, within_s=5)
        took_s = time.monotonic() - begun
        await asyncio.sleep(0.1)

        assert closed
        assert took_s < 1.0
        assert len(fake.drawn) == drawn
        writer.close()
    assert running.application.state.admission.inflight == 0
    assert [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")] == []


async def test_the_group_of_a_lost_client_is_kept_and_not_cached(gateway: Start) -> None:
    async with FakeUpstream(holding()) as fake:
        running = gateway(fake.url)
        _, writer = await send(running.url, HARD)
        assert await fake.until(lambda: len(fake.drawn) > 0)
        writer.close()
        assert await fake.until(lambda: fake.open_sockets == 0)

        admission = running.application.state.admission
        assert await fake.until(lambda: admission.inflight == 0)
        async with httpx.AsyncClient(base_url=running.url) as client:
            rows = (await client.get("/v1/traces")).json()["data"]
        cache = await running.application.state.rim.cache.stats()

    assert [row["status"] for row in rows] == ["failed"]
    assert cache.entries == 0


async def test_a_live_stream_that_nobody_reads_on_is_stopped(gateway: Start) -> None:
    words = " ".join(["word"] * 400)
    async with FakeUpstream(scripted(words, word_s=0.02)) as fake:
        running = gateway(fake.url)
        reader, writer = await send(running.url, {**SINGLE, "stream": True})
        await reader.readuntil(b"word")
        writer.close()

        assert await fake.until(lambda: fake.open_sockets == 0, within_s=1.5)


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(
    gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeUpstream(scripted("4")) as fake:
        running = gateway(fake.url)
        where = urlsplit(running.url)
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {where.netloc}\r\n"
        writer.write(f"{head}content-length: 1000\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.2)

        assert fake.drawn == []
    assert [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")] == []
