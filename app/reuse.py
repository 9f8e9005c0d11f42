"""One request's dealings with the cache: never draw what was already drawn, or is being drawn.

In this order: a verified answer to exactly this; the fresh note that nothing could be verified with
as large a budget; the answer of an equal request in flight; a verified answer of older versions, or
to another wording where the route allows it, once today's verifiers have passed it for *this*
request. Only then is drawn. A cache that is away costs one operation's budget and one word in
`degraded`; from then on this request leaves it alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from app.cache.base import Budget, Cache, CacheEntry, Flight
from app.cache.entry import is_refuted, may_be_cached, may_be_kept, to_cache_entry
from app.cache.key import CacheKeys, cache_keys, may_come_from
from app.cache.near import NearIndex
from app.errors import CacheError
from app.group import CacheRecord, Group, Span
from app.plan import Plan
from app.sample import Scored
from app.scoring import Scorer
from app.task import Task
from app.voting.confidence import Calibration
from app.voting.decide import decide
from app.voting.tally import tally_votes
from verifiers.base import Status
from verifiers.extract import EXTRACTOR_VERSION

HANDOVER_S = 0.25
"""A waiter bears this much more than its deadline, for the answer that the leader gives at its own:
of equal requests the leader's comes first."""
FORM_ONLY = frozenset({"json_schema", "constraints"})
"""Their pass proves the form of an answer, which another question's answer may have as well."""

CalibrationFor = Callable[[Plan], Calibration | None]
"""What was learned of the confidence on a plan's route under its policy."""


@dataclass(frozen=True, slots=True)
class Alone:
    """The flight of a request that takes no answer from anybody, and has none to give."""

    entry: CacheEntry | None = None

    async def share(self, entry: CacheEntry) -> None:
        """Nobody waits."""


@dataclass(slots=True)
class Visit:
    """A task at the cache, from its look-up to what it leaves there."""

    task: Task
    plan: Plan
    keys: CacheKeys
    cache: Cache
    near: NearIndex
    clock: Callable[[], float]
    away: bool = False
    """True once an operation failed."""
    older: CacheEntry | None = None
    """An answer of other versions, found on the way."""

    @classmethod
    def begin(
        cls, task: Task, plan: Plan, *, cache: Cache, near: NearIndex, clock: Callable[[], float]
    ) -> Visit:
        keys = cache_keys(task, plan, extractor_version=EXTRACTOR_VERSION)
        return cls(task=task, plan=plan, keys=keys, cache=cache, near=near, clock=clock)

    @property
    def reads(self) -> bool:
        return self.task.options.cache in ("on", "read_only")

    async def find(self) -> CacheEntry | None:
        """What may be served as it is."""
        if not self.reads:
            return None
        try:
            entry = await self.cache.find(self.keys, cap=self.plan.cap)
        except CacheError:
            self.away = True
            return None
        if entry is None or entry.key in (self.keys.exact, self.keys.attempt):
            return entry
        self.older = entry
        return None

    @asynccontextmanager
    async def flight(self, *, wait_s: float) -> AsyncIterator[Flight]:
        """Lead, or receive what an equal request came to. Raises `WaitedTooLong`."""
        if not self.reads:
            yield Alone()
            return
        budget = Budget(cap=self.plan.cap, deadline_ms=self.task.options.deadline_ms)
        remote = not self.away and may_be_kept(self.task)
        entering = self.cache.flight(self.keys, budget, wait_s=wait_s + HANDOVER_S, remote=remote)
        async with entering as flight:
            yield flight

    async def check_anew(
        self, scorer: Scorer, calibration_for: CalibrationFor, *, within_s: float
    ) -> Group | None:
        """The group of an older or a near answer that passes today's verifiers on this request.

        It is as sure as a proven answer of its policy is on this route by now.
        """
        try:
            async with asyncio.timeout(within_s):
                async for entry, near in self._candidates():
                    group = await self._checked(entry, scorer, calibration_for, near=near)
                    if group is not None:
                        self.older = entry
                        self.cache.count("near" if near else "reverified")
                        return group
        except TimeoutError:
            return None
        return None

    async def keep(self, group: Group, flight: Flight) -> None:
        """Leave what may be kept, then give it to those who wait: who comes later finds it."""
        if group.error is not None or group.decision is None or group.winner is None:
            return
        verified = group.decision.status == "verified"
        entry = to_cache_entry(
            group,
            self.keys,
            "verified" if verified else "negative",
            now=self.clock(),
            source=self.older if group.cache.hit else None,
        )
        if may_be_cached(group) or is_refuted(group):
            await self._put(entry)
            if verified:
                self.near.add(self.keys.scope, self.task.prompt(), entry.key)
        await flight.share(entry)

    async def _put(self, entry: CacheEntry) -> None:
        if self.away:
            return
        try:
            await self.cache.put(entry)
        except CacheError:
            self.away = True

    async def _candidates(self) -> AsyncIterator[tuple[CacheEntry, bool]]:
        """Entries worth checking, each with whether it answers another wording."""
        if not self.reads or self.away:
            return
        if self.older is not None and may_come_from(self.older.policy, self.plan.policy):
            yield self.older, False
        for key in self.near.find(self.keys.scope, self.task.prompt()):
            try:
                entry = await self.cache.get(key)
            except CacheError:
                self.away = True
                return
            if entry is not None and may_come_from(entry.policy, self.plan.policy):
                yield entry, True

    async def _checked(
        self, entry: CacheEntry, scorer: Scorer, calibration_for: CalibrationFor, *, near: bool
    ) -> Group | None:
        """None unless a decisive verifier passes it now, and nothing speaks against it."""
        source = entry.group
        plan = replace(self.plan, engine=source.plan.engine, policy=source.plan.policy)
        group = Group.open(self.task, plan)
        for kept in source.scored:
            # What a program printed is in the text; it is not run again.
            scored, spans = await scorer.score(replace(kept.sample, kind="text"))
            sample = replace(scored.sample, kind=kept.sample.kind)
            group = group.with_scored(replace(scored, sample=sample)).with_spans(*spans)
        group = group.with_tally(tally_votes(group.scored))
        decision = decide(group, "verified", calibration_for(plan))
        group = group.with_decision(decision)
        if decision.status != "verified" or (near and not _proves_content(group.winner)):
            return None
        record = CacheRecord(
            hit=True,
            key=self.keys.exact,
            source_trace_id=source.trace_id,
            age_s=round(max(0.0, self.clock() - entry.created_at), 3),
            reverified=not near,
            near=near,
        )
        return replace(group, cache=record)


def _proves_content(winner: Scored | None) -> bool:
    return winner is not None and any(
        verdict.decisive and verdict.status is Status.PASS and verdict.verifier not in FORM_ONLY
        for verdict in winner.verdicts
    )


def with_spans_before(group: Group, spans: tuple[Span, ...]) -> Group:
    """The group with what happened before its own steps."""
    return replace(group, spans=(*spans, *group.spans))
