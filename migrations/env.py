"""Runs migrations on a connection that the caller opened, or on `-x url=…` from the shell."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection

from app.store.database import open_engine
from app.store.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite can roll back table definitions as well, once BEGIN was sent.
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_from_shell() -> None:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if url is None:
        raise SystemExit("say which database: alembic … -x url=sqlite+aiosqlite:///FILE …")
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_from_shell())
