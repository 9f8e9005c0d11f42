"""The way to the database: which URLs are understood, and which failures mean what.

A failure is either the database's (it is away, full, locked, of another schema: try again later)
or the row's (it will never fit: put it aside). Guessing wrong loses nothing in the first case and
blocks every later row in the second, so only failures that name the data count as the row's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.errors import ConfigError, StoreError
from app.settings import Settings

CONNECT_S = 2
STATEMENT_S = 30
WAL_RETRY_S = 0.02
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

T = TypeVar("T")

AWAY = (OSError, TimeoutError, SQLAlchemyError)
"""What a database call raises that is not a fault of this code."""


def database_url(settings: Settings) -> str:
    """The URL of the settings; without one, SQLite in the data folder."""
    return settings.store.url or f"sqlite+aiosqlite:///{settings.data / 'verivote.db'}"


def parse_url(url: str) -> URL:
    """A URL with the driver that is used for it. Raises `ConfigError`."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(f"store.url is not a database URL: '{url}'") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ConfigError(
            f"store.url begins with '{parsed.drivername}://'; known: sqlite+aiosqlite:///<file>, "
            "postgresql+psycopg://<user>@<host>/<database>"
        )
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise ConfigError("store.url names no file; write sqlite+aiosqlite:///<file>")
    return parsed.set(drivername=driver)


def open_engine(url: str) -> AsyncEngine:
    """An engine that connects when it is first used. Raises `ConfigError`."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(parsed, connect_args={"timeout": STATEMENT_S})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        return engine
    return create_async_engine(
        parsed,
        pool_pre_ping=True,
        pool_timeout=CONNECT_S,
        connect_args={
            "connect_timeout": CONNECT_S,
            "application_name": "verivote",
            "options": f"-c statement_timeout={STATEMENT_S * 1000} -c timezone=UTC",
        },
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # The spool forgets a row once it is committed here, so a commit must outlive a power cut.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


async def use_wal(engine: AsyncEngine) -> None:
    """Let readers of an SQLite file go on beside its writer; the file remembers it.

    SQLite does not wait for its turn here: of gateways that start together on a new file, all but
    one are told at once that it is locked. Raises `OperationalError` after `STATEMENT_S` seconds.
    """
    deadline = asyncio.get_running_loop().time() + STATEMENT_S
    async with engine.connect() as connection:
        while True:
            try:
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except OperationalError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await connection.rollback()
                await asyncio.sleep(WAL_RETRY_S)


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite URL, None for another database."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


@contextmanager
def boundary() -> Iterator[None]:
    """What the database raises inside becomes a `StoreError`."""
    try:
        yield
    except AWAY as failed:
        raise StoreError(f"the database cannot be used: {describe(failed)}") from None


async def transact(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """One unit of work, committed at its end. Raises `StoreError` when it cannot be done."""
    with boundary():
        async with engine.begin() as connection:
            return await work(connection)


def is_fault_of_row(failed: Exception) -> bool:
    """True when the data itself cannot be stored, whatever the state of the database."""
    if isinstance(failed, DBAPIError):
        # 54: program limit exceeded, such as a value too long for an index.
        too_large = str(getattr(failed.orig, "sqlstate", None) or "").startswith("54")
        return too_large or isinstance(failed, DataError | IntegrityError)
    if isinstance(failed, StatementError):
        return isinstance(failed.orig, ValueError | TypeError | OverflowError)
    return not isinstance(failed, AWAY)


def describe(failed: Exception) -> str:
    """The first line of a failure, without the SQL and its parameters (they hold texts)."""
    cause = failed.orig if isinstance(failed, StatementError) and failed.orig else failed
    return f"{type(cause).__name__}: {cause}".split("\n", 1)[0][:500]
