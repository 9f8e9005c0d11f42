"""Group → cache entry, and cache entry → the group of the request that hit it."""

from __future__ import annotations

import dataclasses

from app.cache.base import CacheEntry
from app.group import CacheRecord, Group, Plan, Task


def may_be_cached(group: Group) -> bool:
    """Only a verified answer that was freshly drawn for this request is kept."""
    return (
        group.decision is not None
        and group.decision.status == "verified"
        and group.error is None
        and not group.cache.hit
        and group.task.options.cache in ("on", "write_only")
    )


def to_cache_entry(group: Group, key: str, *, now: float) -> CacheEntry:
    """The group reduced to the choices that it returned."""
    returned = group.decision.returned if group.decision else ()
    kept = tuple(group.at(index) for index in returned)
    return CacheEntry(
        key=key,
        group=dataclasses.replace(group, scored=kept, calls=(), spans=()),
        created_at=now,
    )


def group_from_entry(
    entry: CacheEntry, task: Task, plan: Plan, *, now: float, coalesced: bool
) -> Group:
    """The group of a request that was answered from the cache: nothing drawn, the proof kept."""
    source = entry.group
    return dataclasses.replace(
        source,
        task=task,
        plan=plan,
        degraded=(),
        cache=CacheRecord(
            hit=True,
            key=entry.key,
            source_trace_id=source.trace_id,
            age_s=round(max(0.0, now - entry.created_at), 3),
            coalesced=coalesced,
        ),
    )
