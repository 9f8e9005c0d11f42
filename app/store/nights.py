"""Nights: one row each, claimed by whoever runs it.

A night is named by its day and its engine, so whoever triggers it second finds it taken. Its owner
says every few seconds that it still works; a row whose owner fell silent is taken over, and the
night goes on in the folder that it had. At most one night of an engine runs at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import NotFound
from app.store.database import transact
from app.store.policies import NAME, lock
from app.store.tables import nights, policies

LEASE_S = 60.0
"""An owner that said nothing for so long is gone."""
HEARTBEAT_S = 5.0

RUNNING = "running"
AGAIN = ("failed", "skipped")
"""Ends after which a night may be tried once more: nothing came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRow:
    """One night as the database has it."""

    id: str
    """`<day>-<engine>`"""
    schedule: str
    """Name of the engine whose model is trained."""
    day: date
    status: str
    """app/retrain/report.py: NightStatus."""
    phase: str | None
    """What it is doing; None once it has ended."""
    started_at: float
    """Unix seconds."""
    finished_at: float | None
    objective: str
    settings: Mapping[str, Any]
    """What it was started with: a night that goes on does so unchanged."""
    report: Mapping[str, Any] | None
    policy: str
    """What it makes."""
    owner: str | None
    heartbeat_at: float | None

    def is_alive(self, now: float) -> bool:
        """Whether somebody is at work on it."""
        beat = self.heartbeat_at
        return self.status == RUNNING and beat is not None and now - beat < LEASE_S


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of wanting a night."""

    night: NightRow
    """The wanted one, or the one that is in the way."""
    won: bool
    """True when it is ours to run."""


class Nights:
    """The table `nights`. Every method may raise `StoreError`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(
        self,
        day: date,
        engine: str,
        *,
        objective: str,
        settings: Mapping[str, Any],
        owner: str,
        now: float,
        again: bool = False,
    ) -> Claim:
        """Take a night that nobody has, or one whose owner is gone.

        `again`: also one that failed or was skipped.
        """

        async def write(connection: AsyncConnection) -> Claim:
            await lock(connection)
            wanted = await _find(connection, nights.c.schedule == engine, nights.c.day == day)
            alive = await _alive(connection, engine, now)
            if alive is not None:
                return Claim(alive if wanted is None else wanted, won=False)
            if wanted is None:
                row = await _insert(connection, day, engine, objective, settings, owner, now)
                return Claim(row, won=True)
            if wanted.status == RUNNING:
                return Claim(await _take(connection, wanted, owner, now), won=True)
            if again and wanted.status in AGAIN:
                # What it failed of may have been a setting.
                fresh = {"objective": objective, "settings": dict(settings), "started_at": now}
                return Claim(await _take(connection, wanted, owner, now, **fresh), won=True)
            return Claim(wanted, won=False)

        return await transact(self._engine, write)

    async def beat(self, night_id: str, owner: str, *, phase: str, now: float) -> bool:
        """Say that we are at work; False when the night was taken from us."""
        ours = (nights.c.id == night_id) & (nights.c.owner == owner)
        change = update(nights).where(ours, nights.c.status == RUNNING)
        change = change.values(phase=phase, heartbeat_at=now)
        done = await transact(self._engine, lambda c: c.execute(change))
        return done.rowcount == 1

    async def let_go(self, night_id: str, owner: str) -> None:
        """Stop the work; whoever comes next may go on at once."""
        ours = (nights.c.id == night_id) & (nights.c.owner == owner)
        change = update(nights).where(ours, nights.c.status == RUNNING).values(heartbeat_at=None)
        await transact(self._engine, lambda c: c.execute(change))

    async def keep_report(self, night_id: str, report: Mapping[str, Any]) -> None:
        """Before anything follows from it: a night that goes on later need not find it again."""
        change = update(nights).where(nights.c.id == night_id).values(report=dict(report))
        await transact(self._engine, lambda c: c.execute(change))

    async def finish(
        self, night_id: str, *, status: str, report: Mapping[str, Any], now: float
    ) -> None:
        """Write down how it ended; again, when its canary or its policy came to another end."""
        change = update(nights).where(nights.c.id == night_id)
        change = change.values(
            status=status, report=dict(report), finished_at=now, phase=None, owner=None
        )
        await transact(self._engine, lambda c: c.execute(change))

    async def get(self, night_id: str) -> NightRow:
        """Raises `NotFound`."""
        row = await transact(self._engine, lambda c: _find(c, nights.c.id == night_id))
        if row is None:
            raise NotFound(f"There is no night '{night_id[:80]}'.", code="night_not_found")
        return row

    async def list(self, engine: str | None = None, *, limit: int = 100) -> tuple[NightRow, ...]:
        """Newest first."""
        query = select(nights).order_by(nights.c.day.desc(), nights.c.id).limit(limit)
        if engine is not None:
            query = query.where(nights.c.schedule == engine)
        found = await transact(self._engine, lambda c: c.execute(query))
        return tuple(_row(row) for row in found.mappings())


async def _find(connection: AsyncConnection, *where: Any) -> NightRow | None:
    row = (await connection.execute(select(nights).where(*where))).mappings().first()
    return None if row is None else _row(row)


async def _alive(connection: AsyncConnection, engine: str, now: float) -> NightRow | None:
    return await _find(
        connection,
        nights.c.schedule == engine,
        nights.c.status == RUNNING,
        nights.c.heartbeat_at > now - LEASE_S,
    )


async def _insert(
    connection: AsyncConnection,
    day: date,
    engine: str,
    objective: str,
    settings: Mapping[str, Any],
    owner: str,
    now: float,
) -> NightRow:
    night_id = f"{day.isoformat()}-{engine}"
    values = {
        "id": night_id,
        "schedule": engine,
        "day": day,
        "status": RUNNING,
        "phase": "begun",
        "started_at": now,
        "objective": objective,
        "settings": dict(settings),
        "policy": f"policy-{await _next_number(connection)}",
        "owner": owner,
        "heartbeat_at": now,
    }
    await connection.execute(insert(nights).values(values))
    return await _there(connection, night_id)


async def _take(
    connection: AsyncConnection, night: NightRow, owner: str, now: float, **change: Any
) -> NightRow:
    taken = {"status": RUNNING, "owner": owner, "heartbeat_at": now, "finished_at": None, **change}
    await connection.execute(update(nights).where(nights.c.id == night.id).values(taken))
    return await _there(connection, night.id)


async def _there(connection: AsyncConnection, night_id: str) -> NightRow:
    row = await _find(connection, nights.c.id == night_id)
    assert row is not None  # written in this transaction
    return row


async def _next_number(connection: AsyncConnection) -> int:
    """One more than any policy had, be it kept or not."""
    names = select(policies.c.name).union(
        select(nights.c.policy).where(nights.c.policy.is_not(None))
    )
    found = (await connection.execute(names)).scalars()
    return max((int(m[1]) for name in found if (m := NAME.fullmatch(name))), default=0) + 1


def _row(row: RowMapping) -> NightRow:
    values: dict[str, Any] = dict(row)
    values["policy"] = values["policy"] or ""
    return NightRow(**values)
