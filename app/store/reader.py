"""Reading traces beside a running gateway, from another process.

It looks into the spool but never drains it, and makes or migrates no database: the gateway does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from app.errors import StoreError
from app.group import Group
from app.store import queries, schema
from app.store.base import Label, TraceFilter, TracePage
from app.store.database import boundary, open_engine, transact
from app.store.spool import find_in, read_only, stats_of
from app.store.texts import from_spool_json, storable_text


class TraceReader:
    """An async context manager; entering raises `StoreError` when there is nothing to read."""

    def __init__(self, url: str, spool_path: Path) -> None:
        """Raises `ConfigError` when the URL is not understood."""
        self._url = url
        self._spool_path = spool_path
        self._engine = open_engine(url)

    async def __aenter__(self) -> TraceReader:
        with boundary():
            state = await schema.check(self._url)
        if state == "empty":
            raise StoreError("there are no traces yet: `verivote serve` makes the database")
        if state == "behind":
            raise StoreError("the database has an older schema: run `verivote db upgrade`")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._engine.dispose()

    async def get(self, trace_id: str) -> Group | None:
        """The group, from the spool or the database."""
        data = await asyncio.to_thread(self._find_waiting, storable_text(trace_id))
        if data is not None:
            try:
                return from_spool_json(data)
            except ValidationError:
                return None
        return await transact(self._engine, lambda c: queries.read_group(c, trace_id, None))

    async def list(self, wanted: TraceFilter) -> TracePage:
        """A page of what has reached the database."""
        return await transact(self._engine, lambda c: queries.read_page(c, wanted))

    async def labels(self, trace_id: str) -> tuple[Label, ...]:
        return await transact(self._engine, lambda c: queries.read_labels(c, trace_id))

    async def count_waiting(self) -> int:
        """Groups in the spool that a list does not show yet."""
        return await asyncio.to_thread(self._count_waiting)

    def _find_waiting(self, trace_id: str) -> bytes | None:
        if not self._spool_path.exists():
            return None
        with closing(self._open_spool()) as connection:
            return find_in(connection, trace_id)

    def _count_waiting(self) -> int:
        if not self._spool_path.exists():
            return 0
        with closing(self._open_spool()) as connection:
            return stats_of(connection).depth

    def _open_spool(self) -> sqlite3.Connection:
        try:
            return read_only(self._spool_path)
        except sqlite3.Error as failed:
            raise StoreError(f"the spool '{self._spool_path}' cannot be read: {failed}") from None
