"""What the spool promises: durable when it says so, in order, bounded."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.errors import ConfigError, StoreError
from app.store.spool import Spool
from tests.store.conftest import Clock
from tests.store.groups import START, make_group


@pytest.fixture
async def spool(tmp_path: Path, clock: Clock) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path / "spool.db", clock=clock)
    await spool.open()
    yield spool
    await spool.close()


def lean() -> bytes:
    return b"lean"


async def heads(spool: Spool) -> list[bytes]:
    return [row.data for row in await spool.head(rows=100, size=2**20)]


async def test_rows_leave_in_the_order_they_came(spool: Spool) -> None:
    places = [await spool.append(f"t{i}", b"%d" % i, lean) for i in range(5)]

    assert places == sorted(places)
    assert await heads(spool) == [b"0", b"1", b"2", b"3", b"4"]


async def test_the_head_is_bounded_in_rows_and_bytes_and_never_empty(spool: Spool) -> None:
    await asyncio.gather(*(spool.append("t", b"x" * 100, lean) for _ in range(5)))

    assert len(await spool.head(rows=2, size=2**20)) == 2
    assert len(await spool.head(rows=10, size=250)) == 2
    assert len(await spool.head(rows=10, size=1)) == 1


async def test_a_dropped_row_is_gone_and_its_place_is_never_used_again(spool: Spool) -> None:
    first = await spool.append("a", b"a", lean)
    await spool.drop(await spool.head(rows=1, size=1))

    second = await spool.append("b", b"b", lean)

    assert second > first
    assert await heads(spool) == [b"b"]


async def test_a_rejected_row_leaves_the_queue_and_is_still_found(spool: Spool) -> None:
    await spool.append("a", b"a", lean)
    await spool.append("b", b"b", lean)
    await spool.reject((await spool.head(rows=1, size=1))[0], "too odd")

    stats = await spool.stats()

    assert (stats.depth, stats.rejected) == (1, 1)
    assert await heads(spool) == [b"b"]
    assert await spool.find("a") == b"a"


async def test_rows_survive_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = Spool(tmp_path / "spool.db", clock=clock)
    await first.open()
    place = await first.append("a", b"a", lean)
    await first.close()

    second = Spool(tmp_path / "spool.db", clock=clock)
    await second.open()
    stats = await second.stats()
    found = await heads(second)
    await second.close()

    assert (found, second.last_seq, stats.oldest_at) == ([b"a"], place, START)


async def test_past_its_cap_it_drops_content_then_rows_and_counts_both(
    tmp_path: Path, clock: Clock
) -> None:
    spool = Spool(tmp_path / "spool.db", clock=clock, cap_bytes=800)
    await spool.open()
    await spool.append("full", b"x" * 600, lean)
    await spool.append("bare", b"x" * 101, lean)
    await spool.append("last", b"x" * 600, lambda: b"y" * 190)
    with pytest.raises(StoreError, match="is full"):
        await spool.append("none", b"x" * 600, lambda: b"y" * 190)
    found = await heads(spool)
    counted = (spool.content_dropped, spool.rows_dropped)

    await spool.drop(await spool.head(rows=1, size=1))
    await spool.append("again", b"z", lean)
    await spool.close()

    assert found == [b"x" * 600, b"lean", b"y" * 190]
    assert counted == (3, 1)
    assert spool.is_writable


async def test_a_spool_of_a_newer_version_is_not_touched(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(ConfigError, match="newer verivote"):
        await Spool(path, clock=clock).open()


@pytest.mark.parametrize("kind", ["a folder", "not a database", "below a file"])
async def test_a_path_that_cannot_be_a_spool_is_named(
    tmp_path: Path, clock: Clock, kind: str
) -> None:
    path = tmp_path / "spool.db"
    if kind == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    used = path / "spool.db" if kind == "below a file" else path

    with pytest.raises(StoreError, match="cannot be opened"):
        await Spool(used, clock=clock).open()


async def test_a_closed_spool_says_so(spool: Spool) -> None:
    await spool.close()

    with pytest.raises(StoreError, match="is closed"):
        await spool.append("a", b"a", lean)


async def test_one_failing_request_is_told_and_the_next_one_served(spool: Spool) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        await spool.find("\ud800")

    assert await spool.append("a", b"a", lean)


async def test_concurrent_appends_are_all_kept(spool: Spool) -> None:
    groups = [make_group(START + i) for i in range(300)]

    await asyncio.gather(*(spool.append(g.trace_id, g.to_json(), lean) for g in groups))

    assert (await spool.stats()).depth == 300
