"""Moves groups from the spool into the database, for as long as the gateway runs.

A batch is one transaction. When it fails because of the database, the drainer waits and tries
again, longer each time; when it fails because of a row, each row is tried alone and the bad one is
set aside with its error. A group that the database already has is not inserted again, so a crash
between the database's commit and the spool's neither loses nor doubles it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import VerivoteError
from app.group import Group
from app.store import schema
from app.store.content import level_of
from app.store.database import describe, is_fault_of_row
from app.store.rows import to_rows
from app.store.sides import Prompt, settle_sides
from app.store.spool import Spool, SpoolRow
from app.store.tables import groups, payloads, samples, verdicts
from app.store.texts import from_spool_json
from app.store.training_rows import hash_prompt, normal_prompt

BATCH_ROWS = 100
BATCH_BYTES = 8 * 2**20
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
GATHER_S = 1.0
"""How long rows are gathered into a batch while nobody wants to read them."""

log = logging.getLogger(__name__)


class Drainer:
    """One background task between a spool and a database."""

    def __init__(self, spool: Spool, engine: AsyncEngine) -> None:
        self._spool = spool
        self._engine = engine
        self._task: asyncio.Task[None] | None = None
        self._has_schema = False
        self._appended_upto = 0
        self._drained_upto = 0
        self._failures = 0
        self._is_away = False
        self._appended = asyncio.Event()
        self._nudged = asyncio.Event()
        self._progress = asyncio.Condition()

    async def prepare(self) -> None:
        """Check the schema, or make it. Raises `ConfigError`, or what the database raises."""
        await schema.prepare(self._engine)
        self._has_schema = True

    def start(self) -> None:
        self._appended_upto = self._spool.last_seq
        self._task = asyncio.create_task(self._run(), name="drainer")

    def wake(self, seq: int) -> None:
        """A row was appended at this place of the queue."""
        self._appended_upto = max(self._appended_upto, seq)
        self._appended.set()

    async def settle(self, *, within_s: float) -> None:
        """Wait until every row appended before this call has left the spool.

        Gives up when time is up or the database turns out to be away.
        """
        place, failures = self._appended_upto, self._failures
        self._nudged.set()

        try:
            async with asyncio.timeout(within_s), self._progress:
                await self._progress.wait_for(
                    lambda: self._drained_upto >= place or self._failures > failures
                )
        except TimeoutError:
            return

    async def stop(self, *, within_s: float) -> None:
        """Drain what can be drained in that time, then end."""
        if self._task is None:
            return
        await self.settle(within_s=within_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            self._nudged.clear()
            try:
                if not self._has_schema:
                    await self.prepare()
                moved = await self._drain_batch()
            except Exception as failed:  # the task must outlive any failure: the spool only grows
                await self._note_failure(failed)
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            if self._is_away:
                self._is_away = False
                log.info("the database is back")
            if self._drained_upto >= self._appended_upto:
                await self._appended.wait()
            if moved < BATCH_ROWS:
                await self._pause(GATHER_S)

    async def _drain_batch(self) -> int:
        """Move the oldest rows; how many there were."""
        self._appended.clear()
        upto = self._appended_upto
        rows = await self._spool.head(rows=BATCH_ROWS, size=BATCH_BYTES)
        if rows:
            await self._store(rows)
            upto = rows[-1].seq
        # With nothing there, all that was known is through, whoever moved it.
        self._drained_upto = max(self._drained_upto, upto)
        async with self._progress:
            self._progress.notify_all()
        return len(rows)

    async def _store(self, rows: list[SpoolRow]) -> None:
        try:
            await self._insert(rows)
        except Exception as failed:
            if not is_fault_of_row(failed):
                raise
            if len(rows) > 1:
                for row in rows:
                    await self._store([row])
                return
            reason = describe(failed)
            log.error("trace %s was set aside: %s", rows[0].trace_id, reason)
            await self._spool.reject(rows[0], reason)
        else:
            await self._spool.drop(rows)

    async def _insert(self, rows: list[SpoolRow]) -> None:
        found: dict[str, Group] = {}
        for row in rows:
            group = from_spool_json(row.data)
            found.setdefault(group.trace_id, group)
        async with self._engine.begin() as connection:
            query = select(groups.c.trace_id).where(groups.c.trace_id.in_(list(found)))
            for trace_id in (await connection.execute(query)).scalars():
                del found[trace_id]
            kept = _prompts_kept(found.values())
            sides = await settle_sides(connection, kept) if kept else {}
            views = [to_rows(g, sides.get(hash_prompt(g) or "")) for g in found.values()]
            await _insert_all(connection, groups, [view.group for view in views])
            await _insert_all(connection, payloads, [view.payload for view in views])
            await _insert_all(connection, samples, [r for view in views for r in view.samples])
            await _insert_all(connection, verdicts, [r for view in views for r in view.verdicts])

    async def _note_failure(self, failed: Exception) -> None:
        if not self._is_away:
            told = failed.message if isinstance(failed, VerivoteError) else describe(failed)
            log.warning("the database takes nothing, the spool grows: %s", told)
        self._is_away = True
        self._failures += 1
        async with self._progress:
            self._progress.notify_all()

    async def _pause(self, seconds: float) -> None:
        """Wait that long, or until somebody wants to read."""
        # Not `wait_for`: on Python 3.11 it can swallow the cancellation that ends this task.
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return


def _prompts_kept(kept: Iterable[Group]) -> dict[str, Prompt]:
    """Prompts that may be trained on or held out, by hash: those kept in full."""
    prompts: dict[str, Prompt] = {}
    for group in kept:
        prompt_hash, text = hash_prompt(group), normal_prompt(group)
        if prompt_hash and text and level_of(group.task) == "full":
            prompts.setdefault(prompt_hash, Prompt(text=text, seen_at=group.task.received_at))
    return prompts


async def _insert_all(
    connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]
) -> None:
    """Insert rows; those that another process was first with stay as they are."""
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        await connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)
