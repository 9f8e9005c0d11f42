"""A store over each database; Postgres is a real server, started once a session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.store.sql import SqlStore
from tests.postgres import Server
from tests.store.groups import START


@dataclass
class Clock:
    """Unix seconds that move when a test says so."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def postgres_url(postgres: Server) -> str:
    return postgres.new_database()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'verivote.db'}"
    server: Server = request.getfixturevalue("postgres")
    return server.empty(request.getfixturevalue("postgres_url"))


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Callable[..., SqlStore]:
    """Makes a store, not started, over the one spool of this test."""

    def make(url: str, **options: int) -> SqlStore:
        return SqlStore(url, tmp_path / "spool.db", clock=clock, **options)

    return make


@pytest.fixture
async def store(url: str, open_store: Callable[..., SqlStore]) -> AsyncIterator[SqlStore]:
    store = open_store(url)
    await store.start()
    yield store
    await store.close()
