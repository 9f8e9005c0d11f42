"""From a policy that passed the gate to one that serves, and back.

A canary is watched by every gateway: each counts in the log how both policies did and asks the
sequential test (rollout.py) what to do. Whoever finds the answer first writes it, in one
transaction, and the others find it written. Answers of the cache do not count, nor requests that
named the policy themselves: those were not assigned by chance.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import NotFound, StoreError
from app.retrain.report import NightStatus, Share, share_section
from app.retrain.rollout import CanaryCounts, CanarySettings, Step, canary_step, explain_step
from app.settings import ShareSettings
from app.store.database import transact
from app.store.nights import Nights
from app.store.policies import Policy, PolicyTable
from app.store.tables import groups

WATCH_EVERY_S = 5.0
HOUR_S = 3_600.0
NOT_OURS = ("client_closed_request",)
"""Ends of a request that say nothing of the policy."""

log = logging.getLogger("verivote.promotion")


class CanaryWatch:
    """One background task that ends canaries."""

    def __init__(
        self, database: AsyncEngine, settings: ShareSettings, clock: Callable[[], float]
    ) -> None:
        """`clock` gives Unix seconds."""
        self._database = database
        self._policies = PolicyTable(database)
        self._nights = Nights(database)
        self._settings = settings
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="canaries")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            try:
                await self.turn()
            except StoreError as failed:
                log.warning("the canary cannot be judged: %s", failed.message)
            except Exception:  # a canary that nobody watches could not be taken back
                log.exception("watching the canary failed; it is tried again")

    async def turn(self) -> None:
        """Look at every canary once. Raises `StoreError`."""
        for policy in await self._policies.list():
            if policy.status == "canary":
                await self._judge(policy)

    async def _judge(self, policy: Policy) -> None:
        since, now = policy.changed_at or policy.created_at, self._clock()
        if self._settings.share == 0:
            # Switched off while it served: nobody would be sent to it, and it passed the gate.
            reason = "the gate let it pass, and retrain.canary was switched off"
            if await self._policies.end_canary(policy.name, promote=True, now=now):
                await amend(self._nights, policy, status="promoted", reason=reason, now=now)
            return
        counts = await count(self._database, policy, since=since)
        share = Share(counts=counts, settings=canary_test(self._settings))
        is_over = now - since > HOUR_S * self._settings.max_hours
        step = decide(share, is_over=is_over)
        if step == "go_on":
            return
        promote = step == "promote"
        if not await self._policies.end_canary(policy.name, promote=promote, now=now):
            return
        said = explain_step(counts, share.settings)
        reason = said if not is_over else f"{said}; its {self._settings.max_hours:g} hours are over"
        log.info("the canary of %s: %s", policy.name, reason)
        await amend(
            self._nights,
            policy,
            status="promoted" if promote else "rolled_back",
            reason=reason,
            now=now,
            canary=share_section(share),
        )


def decide(share: Share, *, is_over: bool) -> Step:
    """What the test says; when its time is over, the likelier of the two."""
    step = canary_step(share.counts, share.settings)
    if step == "go_on" and is_over:
        seen = share.counts.canary_requests
        over = replace(share.settings, min_requests=seen, max_requests=seen)
        return canary_step(share.counts, over)
    return step


def canary_test(settings: ShareSettings) -> CanarySettings:
    return CanarySettings(
        share=settings.share,
        worst_ratio=settings.worst_ratio,
        min_requests=settings.min_requests,
        max_requests=settings.max_requests,
    )


async def count(database: AsyncEngine, policy: Policy, *, since: float) -> CanaryCounts:
    """How the canary and its incumbent did since then, as the log has it."""
    names = (policy.name, policy.incumbent)
    refuted = and_(
        groups.c.status.in_(("unverified", "held")),
        func.coalesce(groups.c.verdict_counts["fail"].as_integer(), 0) > 0,
    )
    failed = case((or_(groups.c.status == "failed", refuted), 1), else_=0)
    query = (
        select(groups.c.policy, func.count(), func.sum(failed))
        .where(
            groups.c.policy.in_(names),
            groups.c.received_at >= since,
            groups.c.cache_hit.is_(False),
            groups.c.model.not_in(names),
            or_(groups.c.error_code.is_(None), groups.c.error_code.not_in(NOT_OURS)),
        )
        .group_by(groups.c.policy)
    )
    rows = (await transact(database, lambda c: c.execute(query))).all()
    found = {name: (requests, failures) for name, requests, failures in rows}
    canary, incumbent = (found.get(name, (0, 0)) for name in names)
    return CanaryCounts(
        canary_requests=canary[0],
        canary_failures=canary[1],
        incumbent_requests=incumbent[0],
        incumbent_failures=incumbent[1],
    )


async def promote(policies: PolicyTable, nights: Nights, name: str, *, now: float) -> Policy:
    """A person lets a policy serve. Raises what `PolicyTable.activate` does."""
    policy = await policies.activate(name, now=now)
    await amend(nights, policy, status="promoted", reason="promoted by hand", now=now)
    return policy


async def roll_back(
    policies: PolicyTable, nights: Nights, engine: str, *, now: float
) -> tuple[Policy, Policy | None]:
    """A person takes back what serves. Raises what `PolicyTable.rollback` does."""
    gone, serves = await policies.rollback(engine, now=now)
    await amend(nights, gone, status="rolled_back", reason="rolled back by hand", now=now)
    return gone, serves


async def amend(
    nights: Nights,
    policy: Policy,
    *,
    status: NightStatus,
    reason: str,
    now: float,
    **sections: Mapping[str, Any],
) -> None:
    """Let the report of a policy's night say how it went on."""
    if policy.night_id is None:
        return
    try:
        night = await nights.get(policy.night_id)
    except NotFound:
        return
    if night.report is None:
        return
    about = {**night.report["night"], "status": status, "reason": reason, "finished_at": now}
    report = {**night.report, **sections, "night": about}
    await nights.finish(night.id, status=status, report=report, now=now)
