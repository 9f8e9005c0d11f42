"""The fit of every day: one gateway's, in a process of its own that ends with it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.fitting import NightlyFit
from app.store import schema
from app.store.database import open_engine
from app.store.learned import LearnedStates
from tests.labelled_groups import planted_groups, put
from tests.test_learning import LATER, a_learning, state_of

FEW = 40
DUE = (datetime.fromtimestamp(LATER, UTC) - timedelta(hours=1)).strftime("%H:%M")
NOT_DUE = (datetime.fromtimestamp(LATER, UTC) + timedelta(hours=1)).strftime("%H:%M")
DAY_S = 86_400.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'one.db'}"


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    await schema.upgrade(url)
    engine = open_engine(url)
    await put(engine, *planted_groups(FEW))
    await a_learning(engine).turn()
    yield engine
    await engine.dispose()


def a_gateway(engine: AsyncEngine, url: str, *, at: str = DUE, now: float = LATER) -> NightlyFit:
    return NightlyFit(
        engine, at=at, database=url, deadline_ms=60_000, max_loss=0.01, clock=lambda: now
    )


async def test_at_its_time_one_gateway_fits_the_log(
    engine: AsyncEngine, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "verivote.fitting")
    first, second = a_gateway(engine, url), a_gateway(engine, url)
    for gateway in (first, second, first):
        await gateway.turn()

    saved = await state_of(engine)
    assert (saved.version, saved.labels) == (2, FEW)
    assert [record.message for record in caplog.records] == [
        f"fitted: route default: {FEW} rows, trees too few rows for them, version 2"
    ]


async def test_the_next_day_has_a_fit_of_its_own(engine: AsyncEngine, url: str) -> None:
    await a_gateway(engine, url).turn()
    await a_gateway(engine, url, now=LATER + DAY_S).turn()

    assert (await state_of(engine)).version == 3


@pytest.mark.parametrize("at", ["off", NOT_DUE])
async def test_at_no_other_time_is_anything_fitted(engine: AsyncEngine, url: str, at: str) -> None:
    await a_gateway(engine, url, at=at).turn()

    assert (await state_of(engine)).version == 1
    assert await LearnedStates(engine).newest("fit") == {}


async def test_a_fit_that_fails_is_told_and_left_until_the_next_day(
    engine: AsyncEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = a_gateway(engine, f"sqlite+aiosqlite:///{tmp_path}/nowhere/one.db")
    for _ in range(2):
        await gateway.turn()

    told = [record.message for record in caplog.records if record.name == "verivote.fitting"]
    assert len(told) == 1
    assert told[0].startswith("the router could not be fitted: ")
    assert "Traceback" not in told[0]


async def test_a_gateway_that_ends_ends_its_fit(engine: AsyncEngine) -> None:
    """The database that it reads says nothing; its connection is closed when the process dies."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        gateway = a_gateway(engine, f"postgresql+psycopg://u:p@127.0.0.1:{port}/db")
        await gateway.start()
        reading, _ = await asyncio.to_thread(silent.accept)
        with reading:
            reading.settimeout(30.0)
            await gateway.close()

            while await asyncio.to_thread(reading.recv, 4096):
                pass
