"""The store: a spool in front of SQLite or Postgres, through one set of queries.

`append` needs only this disk. The database may be away: the spool grows, a single trace is still
found, and lists say `StoreError` until it is back.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from app.errors import ConfigError, NotFound
from app.group import Group
from app.store import queries
from app.store.base import Label, StoreHealth, TraceFilter, TracePage
from app.store.content import apply_content_level, drop_content
from app.store.database import AWAY, describe, open_engine, transact
from app.store.drainer import Drainer
from app.store.spool import CAP_BYTES, Spool
from app.store.tables import labels
from app.store.texts import from_spool_json, map_texts, storable_text, to_spool_json

START_S = 3.0
SETTLE_S = 2.0
CLOSE_S = 5.0
PING_S = 1.0

log = logging.getLogger(__name__)


class SqlStore:
    """Implements `app.store.base.Store`."""

    def __init__(
        self,
        url: str,
        spool_path: Path,
        *,
        clock: Callable[[], float],
        cap_bytes: int = CAP_BYTES,
    ) -> None:
        """`clock` gives Unix seconds. Raises `ConfigError` when the URL is not understood."""
        self.engine: AsyncEngine = open_engine(url)
        self._clock = clock
        self._spool = Spool(spool_path, clock=clock, cap_bytes=cap_bytes)
        self._drainer = Drainer(self._spool, self.engine)

    async def start(self) -> None:
        """Open the spool and begin to drain it; the database may be away.

        Raises `ConfigError` when the database is of a newer version, `StoreError` when the spool
        cannot be opened.
        """
        await self._spool.open()
        try:
            async with asyncio.timeout(START_S):
                await self._drainer.prepare()
        except AWAY as failed:
            log.warning("the database is away at start: %s", describe(failed))
        except ConfigError:
            await self._spool.close()
            await self.engine.dispose()
            raise
        self._drainer.start()

    async def close(self) -> None:
        await self._drainer.stop(within_s=CLOSE_S)
        await self._spool.close()
        await self.engine.dispose()

    async def append(self, group: Group) -> None:
        kept = apply_content_level(group)
        seq = await self._spool.append(
            storable_text(group.trace_id),
            to_spool_json(kept),
            lambda: to_spool_json(drop_content(kept)),
        )
        self._drainer.wake(seq)

    async def get(self, trace_id: str, *, tenant: str | None = None) -> Group | None:
        # The spool first: a group leaves it only after the database has it.
        waiting = await self._find_waiting(trace_id)
        if waiting is not None:
            return waiting if tenant in (None, waiting.task.tenant) else None
        return await transact(self.engine, lambda c: queries.read_group(c, trace_id, tenant))

    async def list(self, wanted: TraceFilter) -> TracePage:
        await self._drainer.settle(within_s=SETTLE_S)
        return await transact(self.engine, lambda c: queries.read_page(c, wanted))

    async def add_label(self, label: Label) -> None:
        """Raises `NotFound` when there is no such trace."""
        await self._drainer.settle(within_s=SETTLE_S)
        said = map_texts(label, storable_text)

        async def write(connection: AsyncConnection) -> None:
            if not await queries.has_group(connection, said.trace_id):
                raise NotFound(f"there is no trace '{said.trace_id}'", param="trace_id")
            await connection.execute(insert(labels).values(dataclasses.asdict(said)))

        await transact(self.engine, write)

    async def note_verdicts(
        self, verifier: str, *, since: float, at: float, author: str, note: str
    ) -> tuple[str, ...]:
        await self._drainer.settle(within_s=SETTLE_S)

        async def write(connection: AsyncConnection) -> tuple[str, ...]:
            found = await queries.judged_by(connection, storable_text(verifier), since)
            notes = [
                Label(
                    id=str(ULID()),
                    trace_id=trace_id,
                    kind="note",
                    created_at=at,
                    author=author,
                    note=storable_text(note),
                )
                for trace_id in found
            ]
            if notes:
                await connection.execute(insert(labels), [dataclasses.asdict(n) for n in notes])
            return found

        return await transact(self.engine, write)

    async def labels(self, trace_id: str) -> tuple[Label, ...]:
        return await transact(self.engine, lambda c: queries.read_labels(c, trace_id))

    async def health(self) -> StoreHealth:
        stats = await self._spool.stats()
        oldest_s = None if stats.oldest_at is None else self._clock() - stats.oldest_at
        return StoreHealth(
            writable=self._spool.is_writable,
            database=await self._ping(),
            spool_depth=stats.depth,
            spool_oldest_s=oldest_s,
            rejected=stats.rejected,
            content_dropped=self._spool.content_dropped,
            rows_dropped=self._spool.rows_dropped,
        )

    async def _find_waiting(self, trace_id: str) -> Group | None:
        data = await self._spool.find(storable_text(trace_id))
        try:
            return None if data is None else from_spool_json(data)
        except ValidationError:
            return None

    async def _ping(self) -> bool:
        try:
            async with asyncio.timeout(PING_S), self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except AWAY:
            return False
        return True
