"""A command's way to the database beside a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import StoreError
from app.settings import Settings
from app.store import schema
from app.store.database import boundary, database_url, open_engine

T = TypeVar("T")


def with_database(settings: Settings, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Do some work on a database that is there and of this version. Raises `StoreError`."""

    async def run() -> T:
        await require_database(settings)
        engine = open_engine(database_url(settings))
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


async def require_database(settings: Settings) -> None:
    """Raises `StoreError` for one that is not there or older."""
    with boundary():
        state = await schema.check(database_url(settings))
    if state == "empty":
        raise StoreError("there are no traces yet: `verivote serve` makes the database")
    if state == "behind":
        raise StoreError("the database has an older schema: run `verivote db upgrade`")
