"""A round that is not wanted any more costs nothing from then on."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.errors import Overloaded
from tests.engines.drawing import begin, faked, take
from tests.fakes.upstream import (
    holding,
    scripted,
)


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
