"""The log as the night reads it: groups with the side of their prompt and what people said."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.group import Group
from app.store.base import Label
from app.store.database import transact
from app.store.sides import Side, Split
from app.store.tables import NAME_CHARS, groups, labels, payloads
from app.store.texts import storable_text
from app.store.training_rows import hash_prompt, to_training_rows

PAGE = 200
"""Groups read at once; a page of long groups is some tens of megabytes."""

ULID_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""In the order of their values, which every collation agrees with."""
ENDS = 3
"""Letters at the end of an id by which some are drawn."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedGroup:
    """A group of the log."""

    group: Group
    side: Side | None
    """None where the prompt was not kept in full."""
    labels: tuple[Label, ...] = ()
    """What people and canaries said about it, oldest first."""

    def rows(self) -> tuple[dict[str, Any], ...]:
        """Its training rows."""
        return to_training_rows(self.group, self.side)


class TrainingLog:
    """Reads of the log. Every method may raise `StoreError`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def between(self, since: float, until: float) -> AsyncIterator[LoggedGroup]:
        """The groups received in [since, until), Unix seconds, in the order of trace ids."""
        window = (groups.c.received_at >= since, groups.c.received_at < until)
        async for logged in self._pages(_groups().where(*window)):
            yield logged

    async def drawn(
        self, since: float, until: float, *, most: int, engine: str = ""
    ) -> tuple[int, tuple[Group, ...]]:
        """How many groups of a window were drawn, and about `most` of them, spread evenly.

        Those that the cache answered and those that failed are no part of it. Which ones are taken
        hangs on the random end of their ids, so the same ones are taken again.
        """
        c = groups.c
        window = [c.received_at >= since, c.received_at < until, ~c.cache_hit]
        window += [c.error_code.is_(None)]
        if engine:
            window.append(c.engine == storable_text(engine)[:NAME_CHARS])
        counting = select(func.count()).select_from(groups).where(*window)
        count = (await transact(self._engine, lambda db: db.execute(counting))).scalar_one()
        if count > most:
            end = func.substr(c.trace_id, func.length(c.trace_id) - ENDS + 1, ENDS)
            window.append(end < _end_at(most / count))
        pages = self._pages(_groups().where(*window))
        return count, tuple([logged.group async for logged in pages])

    async def _pages(self, wanted: Select[Any]) -> AsyncIterator[LoggedGroup]:
        after = ""
        while True:
            query = wanted.where(groups.c.trace_id > after).limit(PAGE)
            page, upto = await transact(self._engine, lambda c: _read(c, query))  # noqa: B023
            for logged in page:
                yield logged
            if upto is None:
                return
            after = upto

    async def named(self, trace_ids: Sequence[str]) -> AsyncIterator[LoggedGroup]:
        """These groups, in the order of trace ids; unknown ones are left out."""
        for start in range(0, len(trace_ids), PAGE):
            query = _groups().where(groups.c.trace_id.in_(trace_ids[start : start + PAGE]))
            page, _ = await transact(self._engine, lambda c: _read(c, query))  # noqa: B023
            for logged in page:
                yield logged

    async def held_out(self, split: Split, *, limit: int, seed: int) -> tuple[LoggedGroup, ...]:
        """Groups of different prompts of one side, the newest of each, drawn by seed.

        The same seed draws the same prompts until new ones arrive; another one rotates them.
        """
        c = groups.c
        newest = select(c.prompt_hash, func.max(c.trace_id)).group_by(c.prompt_hash)
        kept = (c.split == split, c.content == "full", c.cluster.is_not(None), ~c.cache_hit)
        query = newest.where(*kept)
        rows = await transact(self._engine, lambda connection: _all(connection, query))
        drawn = sorted(rows, key=lambda row: hashlib.sha256(f"{seed}/{row[0]}".encode()).digest())
        return tuple([g async for g in self.named([trace_id for _, trace_id in drawn[:limit]])])


async def _all(connection: AsyncConnection, query: Select[Any]) -> list[tuple[str, str]]:
    return [(prompt, trace_id) for prompt, trace_id in await connection.execute(query)]


def _end_at(share: float) -> str:
    """The end of an id below which this share of random ids lies; at least one end is below."""
    all_of_them = len(ULID_LETTERS) ** ENDS
    place = min(max(1, round(share * all_of_them)), all_of_them - 1)
    letters = []
    for _ in range(ENDS):
        place, letter = divmod(place, len(ULID_LETTERS))
        letters.append(ULID_LETTERS[letter])
    return "".join(reversed(letters))


def _groups() -> Select[Any]:
    known = (groups.c.trace_id, groups.c.cluster, groups.c.split, payloads.c.document)
    joined = select(*known).join(payloads, payloads.c.trace_id == groups.c.trace_id)
    return joined.order_by(groups.c.trace_id)


async def _read(
    connection: AsyncConnection, query: Select[Any]
) -> tuple[list[LoggedGroup], str | None]:
    """A page, and its last trace id; None when there is no row."""
    rows = (await connection.execute(query)).mappings().all()
    said = await _labels(connection, [row["trace_id"] for row in rows])
    page = [known for row in rows if (known := _logged(row, said)) is not None]
    return page, rows[-1]["trace_id"] if rows else None


def _logged(row: Mapping[str, Any], said: Mapping[str, tuple[Label, ...]]) -> LoggedGroup | None:
    try:
        group = Group.from_json(row["document"])
    except ValidationError:
        log.error("trace %s cannot be read and is left out", row["trace_id"])
        return None
    founder = row["cluster"] or hash_prompt(group)
    side = Side(founder, row["split"]) if founder else None
    return LoggedGroup(group=group, side=side, labels=said.get(row["trace_id"], ()))


async def _labels(
    connection: AsyncConnection, trace_ids: Sequence[str]
) -> dict[str, tuple[Label, ...]]:
    query = select(labels).where(labels.c.trace_id.in_(trace_ids))
    given: defaultdict[str, list[Label]] = defaultdict(list)
    for row in (await connection.execute(query.order_by(labels.c.created_at))).mappings():
        given[row["trace_id"]].append(Label(**row))
    return {trace_id: tuple(found) for trace_id, found in given.items()}
