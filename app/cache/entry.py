"""Group → cache entry, cache entry → the group of the request that hit it, and bytes in between."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
from pydantic import ValidationError

from app.cache.base import CacheEntry, EntryKind
from app.cache.key import CacheKeys
from app.group import CacheRecord, Group
from app.plan import Plan
from app.sample import Scored
from app.task import Options, Parameters, Task
from verifiers.base import Status

ENTRY_VERSION = 1
"""Part of the names under which bytes are kept: no version reads what another one wrote."""
_HEAD = ("key", "created_at", "kind", "question", "policy", "cap", "origins")


class NotAnEntry(ValueError):
    """These bytes are no entry of this version."""


def may_be_kept(task: Task) -> bool:
    """Where texts may not be kept, answers are not either: an entry is an answer at rest."""
    return task.content == "full" and task.store is not False


def may_be_cached(group: Group) -> bool:
    """Only a verified answer that was drawn or checked for this very request is kept."""
    return (
        group.decision is not None
        and group.decision.status == "verified"
        and group.error is None
        and (not group.cache.hit or group.cache.reverified or group.cache.near)
        and group.task.options.cache in ("on", "write_only")
        and may_be_kept(group.task)
    )


def is_refuted(group: Group) -> bool:
    """Whether it may be noted that nothing could be verified: the whole budget was at hand, every
    part worked, and what decides said no to each sample that it saw. An answer that could not be
    checked says nothing about the next try."""
    verdicts = [verdict for scored in group.scored for verdict in scored.verdicts]
    decisive = [verdict for verdict in verdicts if verdict.decisive]
    return (
        group.decision is not None
        and group.decision.status in ("unverified", "held")
        and group.decision.winner is not None
        and group.decision.stop_reason not in ("deadline", "samples", "engine")
        and group.error is None
        and not group.degraded
        and not group.cache.hit
        and group.task.options.cache in ("on", "write_only")
        and may_be_kept(group.task)
        and bool(decisive)
        and all(verdict.status is not Status.ABSTAIN for verdict in decisive)
        and all(verdict.status is not Status.ERROR for verdict in verdicts)
    )


def to_cache_entry(
    group: Group, keys: CacheKeys, kind: EntryKind, *, now: float, source: CacheEntry | None = None
) -> CacheEntry:
    """The group reduced to the choices that it returned.

    The request stays out of it: whoever hits the entry brings an equal one, and references and
    hidden tests are in there. `source` is the entry that was checked anew for this group.
    """
    returned = group.decision.returned if group.decision else ()
    first = group.earlier[0].plan if group.earlier else group.plan
    return CacheEntry(
        key=keys.exact if kind == "verified" else keys.attempt,
        group=dataclasses.replace(
            group,
            task=_bare(group.task),
            scored=tuple(_light(group.at(index)) for index in returned),
            calls=(),
            spans=(),
            earlier=(),
        ),
        created_at=now,
        kind=kind,
        question=keys.question,
        policy=source.policy if source else first.policy,
        cap=first.cap,
        origins=source.trace_ids if source else (),
    )


def group_from_entry(
    entry: CacheEntry, task: Task, plan: Plan, *, now: float, coalesced: bool
) -> Group:
    """The group of a request that was answered from the cache: nothing drawn, the proof kept.

    Its plan is the request's own, but names the model that answered. Only what an unverified
    answer lacked is told again.
    """
    source = entry.group
    return dataclasses.replace(
        source,
        task=task,
        plan=dataclasses.replace(plan, engine=source.plan.engine, policy=source.plan.policy),
        degraded=source.degraded if entry.kind == "negative" else (),
        cache=CacheRecord(
            hit=True,
            key=entry.key,
            source_trace_id=source.trace_id,
            age_s=round(max(0.0, now - entry.created_at), 3),
            coalesced=coalesced,
            negative=entry.kind == "negative" and not coalesced,
        ),
    )


def entry_to_bytes(entry: CacheEntry) -> bytes:
    """One line of JSON about the entry, then the group's own JSON."""
    head: dict[str, Any] = {name: getattr(entry, name) for name in _HEAD}
    return orjson.dumps(head) + b"\n" + entry.group.to_json()


def entry_from_bytes(data: bytes) -> CacheEntry:
    """Raises `NotAnEntry`."""
    head, _, group = data.partition(b"\n")
    try:
        told = orjson.loads(head)
        origins = tuple(told.pop("origins"))
        return CacheEntry(**told, origins=origins, group=Group.from_json(group))
    except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError, ValidationError) as broken:
        raise NotAnEntry(str(broken)[:200]) from None


def _bare(task: Task) -> Task:
    return dataclasses.replace(
        task,
        messages=(),
        parameters=Parameters(),
        options=Options(),
        tools=(),
        tool_choice=None,
        response_format=None,
        metadata={},
        user_hash=None,
    )


def _light(scored: Scored) -> Scored:
    """Without what only training reads: an answer from the cache never trains."""
    sample = scored.sample
    light = dataclasses.replace(
        sample,
        stage=0,
        token_ids=None,
        logprobs=None,
        trainable=False,
        not_trainable=sample.not_trainable or "cached",
    )
    return dataclasses.replace(scored, sample=light)
