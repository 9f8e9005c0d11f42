"""The form of the database: which one it has, which one this version needs, how to get there.

alembic is imported only when there is something to migrate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app import __version__
from app.errors import ConfigError
from app.store.database import open_engine, parse_url, sqlite_file, use_wal

REVISIONS = ("0001", "0002", "0003", "0004")
"""All migrations, oldest first; the last is what this version needs."""

_LOCK = 0x7665_7269
"""Advisory lock on Postgres: of several gateways that start at once, one migrates."""

T = TypeVar("T")

State = Literal["current", "behind", "empty"]


async def current(url: str) -> str | None:
    """The revision of the database, None when it has no tables of ours."""
    return await _look(url, _read_revision, None)


async def check(url: str) -> State:
    """Whether the database fits. Raises `ConfigError` when a newer version wrote it."""
    return await _look(url, _check, "empty")


async def upgrade(url: str) -> None:
    """Bring the database to the newest form. Raises `ConfigError` when it is newer still."""
    engine = open_engine(url)
    try:
        await prepare(engine)
    finally:
        await engine.dispose()


async def prepare(engine: AsyncEngine) -> None:
    """Leave a fitting database alone, migrate any other.

    Raises `ConfigError` when it is newer or cannot hold every text, or what the database raises.
    """
    if file := sqlite_file(engine.url):
        file.parent.mkdir(parents=True, exist_ok=True)
        await use_wal(engine)
    async with engine.begin() as connection:
        await connection.run_sync(_require_utf8)
        if await connection.run_sync(_check) == "current":
            return
    async with engine.begin() as connection:
        await connection.run_sync(upgrade_connection)


async def _look(url: str, work: Callable[[Connection], T], otherwise: T) -> T:
    """Read without leaving an empty file behind. Raises what the database raises."""
    file = sqlite_file(parse_url(url))
    if file is not None and not file.exists():
        return otherwise
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _check(connection: Connection) -> State:
    revision = _read_revision(connection)
    if revision is None:
        return "empty"
    if revision not in REVISIONS:
        raise ConfigError(
            f"the database has schema '{revision}', which verivote {__version__} does not know: "
            "start the newer verivote that wrote it, or restore a backup"
        )
    return "current" if revision == REVISIONS[-1] else "behind"


def upgrade_connection(connection: Connection) -> None:
    """Migrate inside the transaction of this connection, which is committed by the caller."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    else:
        # Takes the write lock before looking, and makes the migration one transaction.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    if _check(connection) != "current":
        from alembic import command

        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Any:
    """alembic's configuration for the packaged migrations on an open connection."""
    from alembic.config import Config

    import migrations

    config = Config()
    # A percent sign would begin an interpolation.
    folder = str(Path(migrations.__file__).parent).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    return config


def _require_utf8(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise ConfigError(
            f"the database has encoding {encoding}, which cannot hold every text: create it with "
            "ENCODING 'UTF8'"
        )
