"""The labelled log: groups of which it is known, or held likely, whether their answer was right.

Who says so, first one wins: a person about the answer that was served; a decisive verifier about
it; and, for the router only, the leader of a vote of `DEEP_VOTE` samples. Left out: cache hits,
which nobody drew, `store: false`, which is kept as a record only, failed groups, and the word of a
verifier that was caught passing a known-bad answer.

The log can be read in two ways. `labelled` gives each group once, as it is known now, in the order
of trace ids. `events` gives the news in the order in which they became known, so that whoever
learns as it goes and whoever replays the log later see the same: a verdict is known with its trace,
a person's label when it was given, under the label's own id (both ids begin with their time).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, exists, literal, or_, select, union_all
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from app.group import Group
from app.sample import Scored
from app.store.base import CANARY_AUTHOR
from app.store.database import transact
from app.store.tables import groups, labels, payloads, verdicts
from verifiers.base import Status
from verifiers.compose import is_verified

DEEP_VOTE = 16
"""Votes from which on the leader is taken for the truth where nothing better is known."""
TRACE_PREFIX = "chatcmpl-"

Source = Literal["label", "verifier", "vote"]

log = logging.getLogger("verivote.labelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledGroup:
    """A group and what is known about the answer that it served."""

    group: Group
    right: bool | None
    """Whether the served answer is right; None when only a deep vote speaks."""
    truth: str | None
    """Vote key of the right answer; None when only a wrong one is known."""
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that became known about a group."""

    at: str
    """Place in the order of events; has the form of a trace id."""
    labelled: LabelledGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    events: tuple[Event, ...]
    upto: str | None
    """Place of the last event looked at, used or not; pass as `after` for the next page."""
    is_last: bool
    """True when there was nothing more to look at."""


class LabelledLog:
    """Reads of the labelled log. Every method may raise `StoreError`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def labelled(self, after: str | None, limit: int) -> tuple[LabelledGroup, ...]:
        """The next labelled groups after this trace id, fewer than `limit` only at the end."""
        found: list[LabelledGroup] = []
        while len(found) < limit:
            wanted = limit - len(found)
            page = await transact(self._engine, lambda c: _page(c, after, wanted))  # noqa: B023
            found += [known for _, known in page if known is not None]
            if len(page) < wanted:
                break
            after = page[-1][0]
        return tuple(found)

    async def events(self, after: str | None, limit: int, *, until: str) -> EventPage:
        """What became known after one place and up to another, oldest first."""
        rows = await transact(self._engine, lambda c: _news(c, after, until, limit))
        events = tuple(Event(at=at, labelled=known) for at, known in rows if known is not None)
        upto = rows[-1][0] if rows else after
        return EventPage(events=events, upto=upto, is_last=len(rows) < limit)


def place_at(seconds: float) -> str:
    """The first place of a moment (Unix seconds) in the order of events and of trace ids."""
    milliseconds = max(0, int(seconds * 1000))
    return f"{TRACE_PREFIX}{ULID.from_bytes(milliseconds.to_bytes(6) + bytes(10))}"


def judge(group: Group, said: bool | None, *, doubted: bool) -> LabelledGroup | None:
    """What is known about a group, or None when nothing is.

    `said`: what a person said about the served answer. `doubted`: its verdicts are in doubt.
    """
    if group.error is not None or group.cache.hit or group.task.store is False:
        return None
    try:
        winner = group.winner
    except KeyError:
        return None
    if winner is None:
        return None
    key = winner.answer.key
    if said is not None:
        truth = key if said else None
        return LabelledGroup(group=group, right=said, truth=truth, source="label")
    verified = None if doubted else _verified(winner)
    if verified is not None:
        truth = key if verified else None
        return LabelledGroup(group=group, right=verified, truth=truth, source="verifier")
    if sum(count for _, count in group.tally.votes) >= DEEP_VOTE and group.tally.leader is not None:
        return LabelledGroup(group=group, right=None, truth=group.tally.leader, source="vote")
    return None


def _verified(winner: Scored) -> bool | None:
    """What decisive verifiers say of the served answer. It fails only where no sample passed."""
    if is_verified(winner.verdicts):
        return True
    failed = any(
        v.decisive and v.role == "outcome" and v.status is Status.FAIL for v in winner.verdicts
    )
    return False if failed else None


async def _page(
    connection: AsyncConnection, after: str | None, limit: int
) -> list[tuple[str, LabelledGroup | None]]:
    """The next candidates by trace id, with what is known of each now."""
    query = (
        _candidates(_has_label() | _has_verdict() | (groups.c.samples >= DEEP_VOTE))
        .add_columns(payloads.c.document)
        .join(payloads, payloads.c.trace_id == groups.c.trace_id)
        .order_by(groups.c.trace_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(groups.c.trace_id > after)
    documents = {row.trace_id: row.document for row in await connection.execute(query)}
    given = await _labels_of(connection, list(documents))
    known: list[tuple[str, LabelledGroup | None]] = []
    for trace_id, document in documents.items():
        group = _read(trace_id, document)
        if group is None:
            known.append((trace_id, None))
            continue
        words = [_said(label, group) for label in given[trace_id]]
        said = next((word for word in reversed(words) if word is not None), None)
        known.append((trace_id, judge(group, said, doubted=_is_doubted(given[trace_id]))))
    return known


async def _news(
    connection: AsyncConnection, after: str | None, until: str, limit: int
) -> list[tuple[str, LabelledGroup | None]]:
    """The next events: a trace with verdicts or a deep vote, or a person's label on any trace."""
    by_trace = _candidates(_has_verdict() | (groups.c.samples >= DEEP_VOTE)).add_columns(
        groups.c.trace_id.label("at"), literal(None).label("label_id")
    )
    at = (literal(TRACE_PREFIX) + labels.c.id).label("at")
    by_label = (
        _candidates(_is_judgement())
        .join(labels, labels.c.trace_id == groups.c.trace_id)
        .add_columns(at, labels.c.id.label("label_id"))
    )
    known = union_all(
        by_trace.where(groups.c.trace_id <= until, *_later(groups.c.trace_id, after)),
        by_label.where(at <= until, *_later(at, after)),
    ).subquery()
    query = (
        select(known, payloads.c.document)
        .join(payloads, payloads.c.trace_id == known.c.trace_id)
        .order_by(known.c.at)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    given = await _labels_of(connection, [row.trace_id for row in rows])
    news: list[tuple[str, LabelledGroup | None]] = []
    for row in rows:
        group = _read(row.trace_id, row.document)
        if group is None:
            news.append((row.at, None))
        elif row.label_id is None:
            doubted = _is_doubted(given[row.trace_id])
            news.append((row.at, judge(group, None, doubted=doubted)))
        else:
            label = next(each for each in given[row.trace_id] if each["id"] == row.label_id)
            said = _said(label, group)
            news.append((row.at, None if said is None else judge(group, said, doubted=False)))
    return news


def _later(place: ColumnElement[str], after: str | None) -> list[ColumnElement[bool]]:
    return [] if after is None else [place > after]


def _candidates(condition: ColumnElement[bool]) -> Select[tuple[str]]:
    """Traces that may be labelled; the documents decide."""
    return select(groups.c.trace_id).where(
        groups.c.cache_hit.is_(False), groups.c.error_code.is_(None), condition
    )


def _has_label() -> ColumnElement[bool]:
    query = select(labels.c.id).where(labels.c.trace_id == groups.c.trace_id, _is_judgement())
    return exists(query)


def _is_judgement() -> ColumnElement[bool]:
    return or_(labels.c.kind == "right", labels.c.kind == "wrong")


def _has_verdict() -> ColumnElement[bool]:
    query = select(verdicts.c.verifier).where(
        verdicts.c.trace_id == groups.c.trace_id,
        verdicts.c.decisive.is_(True),
        verdicts.c.role == "outcome",
        verdicts.c.status.in_((Status.PASS.value, Status.FAIL.value)),
    )
    return exists(query)


async def _labels_of(
    connection: AsyncConnection, trace_ids: Sequence[str]
) -> Mapping[str, list[RowMapping]]:
    """Labels of these traces, oldest first."""
    query = (
        select(labels)
        .where(labels.c.trace_id.in_(trace_ids))
        .order_by(labels.c.created_at, labels.c.id)
    )
    given: defaultdict[str, list[RowMapping]] = defaultdict(list)
    for row in (await connection.execute(query)).mappings():
        given[row["trace_id"]].append(row)
    return given


def _said(label: RowMapping, group: Group) -> bool | None:
    """What a label says about the served answer: right, wrong or nothing."""
    served = group.decision.winner if group.decision is not None else None
    if label["kind"] not in ("right", "wrong") or label["sample"] not in (None, served):
        return None
    return bool(label["kind"] == "right")


def _is_doubted(given: Sequence[RowMapping]) -> bool:
    return any(label["kind"] == "note" and label["author"] == CANARY_AUTHOR for label in given)


def _read(trace_id: str, document: str) -> Group | None:
    """The group; a document of a form that is not known here is passed over, not waited for."""
    try:
        return Group.from_json(document)
    except ValidationError:
        log.warning("trace %s cannot be read as a group and is not learned from", trace_id)
        return None
