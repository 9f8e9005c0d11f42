"""The migrations, the tables and the list of revisions say the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from app.errors import ConfigError
from app.store import schema
from app.store.database import open_engine, parse_url
from app.store.tables import metadata
from tests.postgres import Server


def tables_in(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


async def test_up_down_up_leaves_exactly_the_tables(url: str) -> None:
    def go(connection: Connection, direction: str, to: str) -> set[str]:
        getattr(command, direction)(schema.alembic_config(connection), to)
        return tables_in(connection)

    engine = open_engine(url)
    seen = []
    for direction, to in (("upgrade", "head"), ("downgrade", "base"), ("upgrade", "head")):
        async with engine.begin() as connection:
            seen.append(await connection.run_sync(go, direction, to))
    await engine.dispose()

    assert seen == [set(metadata.tables), set(), set(metadata.tables)]


async def test_metadata_and_migrations_agree(url: str) -> None:
    await schema.upgrade(url)
    engine = open_engine(url)
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c), metadata)
        )
    await engine.dispose()

    assert differences == []


def test_the_known_revisions_are_those_of_the_scripts() -> None:
    config = schema.alembic_config(None)  # type: ignore[arg-type]
    scripts = ScriptDirectory.from_config(config).walk_revisions()

    assert tuple(script.revision for script in scripts)[::-1] == schema.REVISIONS


async def test_it_says_where_the_database_stands(url: str) -> None:
    before = await schema.current(url), await schema.check(url)
    await schema.upgrade(url)
    after = await schema.current(url), await schema.check(url)

    assert before == (None, "empty")
    assert after == (schema.REVISIONS[-1], "current")


async def test_looking_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "verivote.db"

    await schema.check(f"sqlite:///{file}")

    assert not file.exists()


async def test_gateways_that_start_together_migrate_once(url: str) -> None:
    await asyncio.gather(*(schema.upgrade(url) for _ in range(8)))

    assert await schema.check(url) == "current"


async def test_a_migration_that_fails_half_way_leaves_nothing(url: str) -> None:
    def begin_and_fail(connection: Connection) -> None:
        schema.upgrade_connection(connection)
        raise RuntimeError("the machine went down")

    engine = open_engine(url)
    with pytest.raises(RuntimeError, match="went down"):
        async with engine.begin() as connection:
            await connection.run_sync(begin_and_fail)
    async with engine.connect() as connection:
        left = await connection.run_sync(tables_in)
    await engine.dispose()

    assert left == set()


@pytest.mark.postgres
async def test_a_database_that_cannot_hold_every_text_is_refused(postgres: Server) -> None:
    url = postgres.new_database(encoding="LATIN1")

    with pytest.raises(ConfigError, match="encoding LATIN1"):
        await schema.upgrade(url)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///a.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///a.db", "sqlite+aiosqlite"),
        ("postgres://h/d", "postgresql+psycopg"),
        ("postgresql://h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg"),
    ],
)
def test_usual_spellings_of_a_url_are_understood(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused_by_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.url"):
        parse_url(url)
