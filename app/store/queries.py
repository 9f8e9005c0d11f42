"""Reads of the database: one group, a page of the trace list, the labels of a trace.

Texts that a caller sends are made storable first, so a filter with a NUL in it finds what was
stored with the stand-in, and never reaches the driver.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, get_args

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, true, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.group import Group
from app.store.base import Label, LabelKind, TraceFilter, TracePage
from app.store.rows import to_summary
from app.store.tables import NAME_CHARS, groups, labels, payloads, verdicts
from app.store.texts import storable_text

MOST_ROWS = 500


async def read_group(
    connection: AsyncConnection, trace_id: str, tenant: str | None
) -> Group | None:
    """The group, unless it is unknown or another tenant's."""
    query = (
        select(payloads.c.document)
        .join(groups, groups.c.trace_id == payloads.c.trace_id)
        .where(groups.c.trace_id == storable_text(trace_id))
    )
    if tenant is not None:
        query = query.where(groups.c.tenant == _name(tenant))
    document = (await connection.execute(query)).scalar()
    return None if document is None else Group.from_json(document)


async def has_group(connection: AsyncConnection, trace_id: str) -> bool:
    query = select(groups.c.trace_id).where(groups.c.trace_id == storable_text(trace_id))
    return (await connection.execute(query)).first() is not None


async def read_page(connection: AsyncConnection, wanted: TraceFilter) -> TracePage:
    """One page, newest first."""
    limit = max(1, min(wanted.limit, MOST_ROWS))
    query = _filtered(select(groups), wanted, connection.dialect.name)
    query = query.order_by(groups.c.trace_id.desc()).limit(limit + 1)
    found = (await connection.execute(query)).mappings().all()
    shown = found[:limit]
    kinds = await _label_kinds(connection, [row["trace_id"] for row in shown])
    return TracePage(
        rows=tuple(to_summary(row, kinds[row["trace_id"]]) for row in shown),
        next_before=shown[-1]["trace_id"] if len(found) > limit else None,
    )


async def judged_by(connection: AsyncConnection, verifier: str, since: float) -> tuple[str, ...]:
    """Traces finished since then that hold a verdict of this verifier, oldest first."""
    query = (
        select(groups.c.trace_id)
        .join(verdicts, verdicts.c.trace_id == groups.c.trace_id)
        .where(verdicts.c.verifier == verifier)
        .where(groups.c.received_at + groups.c.duration_ms / 1000 >= since)
        .distinct()
        .order_by(groups.c.trace_id)
    )
    return tuple((await connection.execute(query)).scalars())


async def read_labels(connection: AsyncConnection, trace_id: str) -> tuple[Label, ...]:
    """Labels of a trace, oldest first."""
    query = (
        select(labels)
        .where(labels.c.trace_id == storable_text(trace_id))
        .order_by(labels.c.created_at, labels.c.id)
    )
    return tuple(Label(**row) for row in (await connection.execute(query)).mappings())


def _filtered(query: Select[Any], wanted: TraceFilter, dialect: str) -> Select[Any]:
    c = groups.c
    if wanted.tenant is not None:
        query = query.where(c.tenant == _name(wanted.tenant))
    if wanted.status is not None:
        query = query.where(c.status == storable_text(wanted.status))
    if wanted.route is not None:
        query = query.where(c.route == storable_text(wanted.route))
    if wanted.model is not None:
        query = query.where(c.model == _name(wanted.model))
    if wanted.since is not None:
        query = query.where(c.received_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(c.received_at < wanted.until)
    if wanted.before is not None:
        query = query.where(c.trace_id < storable_text(wanted.before))
    if wanted.search is not None:
        sought = storable_text(wanted.search)
        query = query.where(
            or_(
                c.prompt_preview.icontains(sought, autoescape=True),
                c.trace_id.icontains(sought, autoescape=True),
            )
        )
    for key, value in wanted.metadata.items():
        query = query.where(_has_metadata(storable_text(key), storable_text(value), dialect))
    return query.where(_quick(wanted.quick))


def _name(text: str) -> str:
    return storable_text(text)[:NAME_CHARS]


def _has_metadata(key: str, value: str, dialect: str) -> ColumnElement[bool]:
    """Exact for any key: a path expression would trip over quotes in it."""
    if dialect == "postgresql":
        return type_coerce(groups.c.metadata, JSONB).contains({key: value})
    each = func.json_each(groups.c.metadata).table_valued("key", "value")
    return exists(select(each.c.key).where(each.c.key == key, each.c.value == value))


def _quick(view: str | None) -> ColumnElement[bool]:
    if view == "split":
        return groups.c.split_vote
    if view == "verifier_error":
        return groups.c.has_verifier_error
    if view == "cached":
        return groups.c.cache_hit
    if view == "unlabelled":
        return ~exists(select(labels.c.id).where(labels.c.trace_id == groups.c.trace_id))
    return true()


async def _label_kinds(
    connection: AsyncConnection, trace_ids: Sequence[str]
) -> defaultdict[str, tuple[LabelKind, ...]]:
    """The kinds of label that each trace has, in the order of the type."""
    query = select(labels.c.trace_id, labels.c.kind).where(labels.c.trace_id.in_(trace_ids))
    given: defaultdict[str, set[str]] = defaultdict(set)
    for trace_id, kind in await connection.execute(query.distinct()):
        given[trace_id].add(kind)
    kinds: defaultdict[str, tuple[LabelKind, ...]] = defaultdict(tuple)
    for trace_id, known in given.items():
        kinds[trace_id] = tuple(kind for kind in get_args(LabelKind) if kind in known)
    return kinds
