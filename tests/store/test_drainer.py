"""What happens between spool and database when one of them, or the process, fails."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select, text

from app.errors import ConfigError, StoreError
from app.store.base import Label, StoreHealth, TraceFilter
from app.store.database import open_engine
from app.store.sql import SqlStore
from app.store.tables import groups, payloads, samples, verdicts
from tests.postgres import Server, free_port
from tests.store.groups import START, make_group, make_scored

OpenStore = Callable[..., SqlStore]
APPENDER = Path(__file__).with_name("appender.py")


@asynccontextmanager
async def running(store: SqlStore) -> AsyncIterator[SqlStore]:
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def listed(store: SqlStore) -> list[str]:
    return [row.trace_id for row in (await store.list(TraceFilter(limit=500))).rows]


async def wait_until_drained(store: SqlStore) -> StoreHealth:
    """Patience, not a limit: the drainer's longest pause is five seconds."""
    for _ in range(600):
        health = await store.health()
        if health.spool_depth == 0:
            return health
        await asyncio.sleep(0.05)
    raise AssertionError(health)


def append_until_killed(data: Path, run: int, after: int) -> list[str]:
    """The ids that a child acknowledged before it was killed, at least `after` of them."""
    command = [sys.executable, str(APPENDER), str(data), str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        ids = [child.stdout.readline().strip() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
    # The last line may have been cut in two.
    return ids + rest[: rest.rfind("\n") + 1].split()


async def test_no_acknowledged_trace_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    """A child appends and drains and prints each acknowledgement; it dies at random points."""
    chance = random.Random(7)
    acknowledged: list[str] = []
    for run in range(20):
        acknowledged += append_until_killed(tmp_path, run, after=chance.randint(1, 200))

    store = SqlStore(
        f"sqlite:///{tmp_path / 'verivote.db'}", tmp_path / "spool.db", clock=time.time
    )
    async with running(store):
        await wait_until_drained(store)
        async with store.engine.connect() as connection:
            found = list((await connection.execute(select(groups.c.trace_id))).scalars())
            counts = [
                (await connection.execute(select(func.count()).select_from(table))).scalar()
                for table in (payloads, samples, verdicts)
            ]

    assert len(acknowledged) >= 20
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert counts == [len(found), 3 * len(found), 3 * len(found)]


@pytest.mark.postgres
async def test_a_stopped_postgres_costs_nothing(
    postgres: Server, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    made = [make_group(START + i) for i in range(40)]
    async with running(open_store(postgres.new_database())) as store:
        await store.append(made[0])
        await wait_until_drained(store)
        assert await listed(store) == [made[0].trace_id]
        postgres.stop()
        try:
            await asyncio.gather(*(store.append(group) for group in made[1:]))
            away = await store.health()
            found = await store.get(made[7].trace_id)
            with pytest.raises(StoreError, match="database cannot be used"):
                await store.list(TraceFilter())
            label = Label(
                id="1", trace_id=made[0].trace_id, kind="note", created_at=START, author="a"
            )
            with pytest.raises(StoreError, match="database cannot be used"):
                await store.add_label(label)
        finally:
            postgres.start()
        back = await wait_until_drained(store)

        assert await listed(store) == [group.trace_id for group in reversed(made)]
    assert (away.writable, away.database, away.spool_depth) == (True, False, 39)
    assert (back.writable, back.database, back.rejected) == (True, True, 0)
    assert found == made[7]
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


@pytest.mark.postgres
async def test_a_gateway_starts_while_its_database_is_away(
    postgres: Server, open_store: OpenStore
) -> None:
    url = postgres.new_database()
    postgres.stop()
    try:
        store = open_store(url)
        await store.start()
        await store.append(make_group())
    finally:
        postgres.start()
    await wait_until_drained(store)

    found = await listed(store)
    await store.close()

    assert found == [make_group().trace_id]


async def test_what_was_left_at_close_drains_at_the_next_start(
    url: str, open_store: OpenStore
) -> None:
    nowhere = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    async with running(open_store(nowhere)) as store:
        await store.append(make_group())

    async with running(open_store(url)) as store:
        await wait_until_drained(store)

        assert await listed(store) == [make_group().trace_id]


@pytest.mark.parametrize("poison", ["garbage", "a token id past 32 bits", "a trace id too long"])
async def test_a_row_that_no_database_takes_is_set_aside(
    url: str, open_store: OpenStore, tmp_path: Path, poison: str
) -> None:
    before, after = make_group(START), make_group(START + 9)
    async with running(open_store(f"postgresql://nobody@127.0.0.1:{free_port()}/none")) as store:
        await store.append(before)
        if poison == "a token id past 32 bits":
            odd = make_scored(0, "42", token_ids=(2**40,), logprobs=(0.0,))
            await store.append(make_group(START + 1, answers=()).with_scored(odd))
        elif poison == "a trace id too long":
            await store.append(make_group(task={"trace_id": "x" * 10_000}))
    with closing(sqlite3.connect(tmp_path / "spool.db")) as spool:
        if poison == "garbage":
            spool.execute(
                "INSERT INTO spool (trace_id, appended_at, size, data) VALUES ('g', 1, 1, 'x')"
            )
            spool.commit()

    async with running(open_store(url)) as store:
        await store.append(after)
        health = await wait_until_drained(store)
        found = await listed(store)

    is_taken = poison == "a trace id too long" and url.startswith("sqlite")
    assert [id_ for id_ in found if id_[0] == "c"] == [after.trace_id, before.trace_id]
    assert (health.spool_depth, health.rejected) == (0, 0 if is_taken else 1)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as spool:
        errors = [error for (error,) in spool.execute("SELECT error FROM rejected")]
    assert all(error and "\n" not in error for error in errors)


async def test_a_newer_database_is_refused_at_start(url: str, open_store: OpenStore) -> None:
    async with running(open_store(url)) as store:
        await store.append(make_group())
        await wait_until_drained(store)
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()

    with pytest.raises(ConfigError, match=r"schema '9999', which verivote .* does not know"):
        await open_store(url).start()


async def test_a_table_that_is_missing_is_the_databases_fault_not_the_rows(
    url: str, open_store: OpenStore
) -> None:
    """Rejecting every row because of a half-restored backup would empty the spool for nothing."""
    async with running(open_store(url)) as store:
        await store.append(make_group(START))
        await wait_until_drained(store)
        async with store.engine.begin() as connection:
            await connection.run_sync(lambda c: _drop(c, verdicts))
        await store.append(make_group(START + 1))
        await asyncio.sleep(0.2)
        health = await store.health()

    assert (health.spool_depth, health.rejected) == (1, 0)


def _drop(connection: object, table: Table) -> None:
    table.drop(connection)  # type: ignore[arg-type]
