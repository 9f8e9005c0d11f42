"""What was learned from the log: one row a version, never changed.

Versions of a route count from 1. Whoever saves version n + 1 second finds it taken, so of several
gateways on one database only one learns from the same groups. Old versions are thinned out, the
older the more: what is kept grows with the logarithm of how often was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from sqlalchemy import ColumnElement, Subquery, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.store.database import transact
from app.store.tables import NAME_CHARS, learned

LearnedKind = Literal["difficulty", "confidence", "fit"]
"""`fit`: a nightly fit that a gateway has taken; its version is the day, and its state is empty."""

KEPT_WHOLE = 8
"""The newest versions are all kept; of those before, about as many for each doubling of age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of what a route has learned, without its state."""

    kind: LearnedKind
    route: str
    version: int
    """From 1."""
    created_at: float
    """Unix seconds."""
    labels: int
    """How many labelled groups it was learned from."""
    last_trace_id: str | None
    """Everything in the log up to here is in it; None when it has seen none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned(Version):
    """A version with its state: JSON whose meaning is known to the room that learned it."""

    state: Mapping[str, Any]


class _Taken(Exception):
    """A version to be saved exists already; the transaction is rolled back."""


class LearnedStates:
    """The table `learned`. Every method may raise `StoreError`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def save(self, *versions: Learned) -> bool:
        """Keep all of them or none: False when one of them was saved by somebody else before."""

        async def write(connection: AsyncConnection) -> None:
            for each in versions:
                await _insert(connection, each)
                await _thin(connection, each)

        try:
            await transact(self._engine, write)
        except _Taken:
            return False
        return True

    async def claim_fit(self, day: date, *, now: float) -> bool:
        """Whether the nightly fit of a day is the caller's: True for the first who asks."""
        taken = Learned(
            kind="fit",
            route="",
            version=day.toordinal(),
            created_at=now,
            labels=0,
            last_trace_id=None,
            state={},
        )
        return await self.save(taken)

    async def latest(self, kind: LearnedKind) -> Mapping[str, Learned]:
        """The newest version of every route, by route."""
        newest = _newest_of(kind)
        query = select(learned).join(newest, _is(newest)).where(learned.c.kind == kind)
        found = await transact(self._engine, lambda c: c.execute(query))
        return {row["route"]: _learned(row) for row in found.mappings()}

    async def newest(self, kind: LearnedKind) -> Mapping[str, Version]:
        """The same without the states: cheap enough to ask often."""
        newest = _newest_of(kind)
        query = select(*_UNSTATED).join(newest, _is(newest)).where(learned.c.kind == kind)
        found = await transact(self._engine, lambda c: c.execute(query))
        return {row["route"]: Version(**row) for row in found.mappings()}

    async def get(self, kind: LearnedKind, route: str, version: int) -> Learned | None:
        """One version, unless there was none or it was thinned out."""
        query = select(learned).where(
            learned.c.kind == kind, learned.c.route == _name(route), learned.c.version == version
        )
        row = (await transact(self._engine, lambda c: c.execute(query))).mappings().first()
        return None if row is None else _learned(row)

    async def versions(self, kind: LearnedKind, route: str) -> tuple[Version, ...]:
        """The versions that are kept of a route, newest first."""
        query = (
            select(*_UNSTATED)
            .where(learned.c.kind == kind, learned.c.route == _name(route))
            .order_by(learned.c.version.desc())
        )
        found = await transact(self._engine, lambda c: c.execute(query))
        return tuple(Version(**row) for row in found.mappings())


_UNSTATED = [column for column in learned.c if column.name != "state"]


def _newest_of(kind: LearnedKind) -> Subquery:
    return (
        select(learned.c.route, func.max(learned.c.version).label("version"))
        .where(learned.c.kind == kind)
        .group_by(learned.c.route)
        .subquery()
    )


def _is(newest: Subquery) -> ColumnElement[bool]:
    return (learned.c.route == newest.c.route) & (learned.c.version == newest.c.version)


def is_kept(version: int, newest: int) -> bool:
    """Whether a version is still worth its row when `newest` is the newest."""
    age = newest - version
    if age < KEPT_WHOLE:
        return True
    step: int = 2 ** ((age // KEPT_WHOLE).bit_length() - 1)
    return version % step == 0


async def _insert(connection: AsyncConnection, each: Learned) -> None:
    """Raises `_Taken`."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {
        "kind": each.kind,
        "route": _name(each.route),
        "version": each.version,
        "created_at": each.created_at,
        "labels": each.labels,
        "last_trace_id": each.last_trace_id,
        "state": dict(each.state),
    }
    insert = dialect.insert(learned).values(values).on_conflict_do_nothing()
    if (await connection.execute(insert.returning(learned.c.version))).first() is None:
        raise _Taken


async def _thin(connection: AsyncConnection, newest: Learned) -> None:
    """Delete the versions that have become too old to be kept beside their neighbours."""
    of_route = (learned.c.kind == newest.kind) & (learned.c.route == _name(newest.route))
    found = (await connection.execute(select(learned.c.version).where(of_route))).scalars()
    gone = [version for version in found if not is_kept(version, newest.version)]
    if gone:
        await connection.execute(delete(learned).where(of_route, learned.c.version.in_(gone)))


def _name(route: str) -> str:
    return route[:NAME_CHARS]


def _learned(row: RowMapping) -> Learned:
    return Learned(**row)
