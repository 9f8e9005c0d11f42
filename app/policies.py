"""Which policy answers a request: what the table says, as far as the engines can serve it.

Every gateway looks at the table once a second, so a promotion or a rollback made anywhere is
followed everywhere within that time. A policy is loaded in its engine before any request is sent
to it. Where the active one cannot be loaded, because its files are gone or the server refuses
them, the nearest ancestor that can serves instead, and replies say so with one word. The one
before the active policy stays loaded, so that a rollback waits for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from app.engines.base import Engine
from app.errors import EngineError, StoreError
from app.store.policies import Policy, PolicyStatus, PolicyTable

__all__ = ["Policy", "PolicyBook", "PolicyStatus", "PolicyTable"]

LOOK_EVERY_S = 1.0
LIST_S = 1.0
"""A server that does not even list its models holds up no other's rollback."""
START_S = 10.0
"""A gateway waits no longer for adapters before it answers with what is loaded."""
UNLOAD_AFTER_S = 300.0
"""Requests that were sent to a policy have ended by so long after it was taken back."""

log = logging.getLogger("verivote.policies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Who answers on one engine."""

    policy: str | None
    """None: the base model."""
    canary: str | None = None
    degraded: bool = False
    """True while this is not the policy that should serve."""


class PolicyBook:
    """One background task; `serving` is what requests ask. `share` of them try a canary."""

    def __init__(
        self,
        database: AsyncEngine,
        engines: Mapping[str, Engine],
        *,
        share: float,
        clock: Callable[[], float],
        named: Collection[str] = (),
    ) -> None:
        """`named` policies are kept loaded whoever serves. `clock` gives Unix seconds."""
        self._table = PolicyTable(database)
        self._engines = engines
        self._share = share
        self._named = frozenset(named)
        self._clock = clock
        self._serving: dict[str, Serving] = {}
        self._task: asyncio.Task[None] | None = None
        self._told: dict[str, str] = {}
        """The last fault of each policy that was written to the log."""
        self._loaded_in: dict[str, set[str]] = {}
        self._is_away = False

    def serving(self, engine: str, trace_id: str) -> str | None:
        """The policy that answers this request; None is the base model."""
        found = self._serving.get(engine)
        if found is None:
            return None
        if found.canary is not None and draw(found.canary, trace_id) < self._share:
            return found.canary
        return found.policy

    def is_degraded(self, engine: str) -> bool:
        """Whether an older policy serves because the active one cannot."""
        found = self._serving.get(engine)
        return found is not None and found.degraded

    async def start(self) -> None:
        """Load what serves; the database and the engines may be away."""
        try:
            async with asyncio.timeout(START_S):
                await self._turn()
        except TimeoutError:
            log.warning("policies are still being loaded; older ones answer until then")
        self._task = asyncio.create_task(self._run(), name="policies")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._turn()

    async def _turn(self) -> None:
        try:
            await self.turn()
            self._is_away = False
        except StoreError as failed:
            if not self._is_away:
                log.warning("the policies cannot be read: %s", failed.message)
            self._is_away = True
        except Exception:  # a gateway that stops following the table could never be rolled back
            log.exception("the policies could not be followed; it is tried again")

    async def turn(self) -> None:
        """Follow the table once. Raises `StoreError`; then what served goes on serving."""
        known = await self._table.list()
        names = sorted({policy.engine for policy in known} & self._engines.keys())
        await asyncio.gather(*(self._follow(n, [p for p in known if p.engine == n]) for n in names))

    async def _follow(self, engine: str, known: list[Policy]) -> None:
        by_name = {policy.name: policy for policy in known}
        active = next((p for p in known if p.status == "active"), None)
        canary = next((p for p in known if p.status == "canary"), None)
        # Until it is loaded, the base model answers in its place, and says so.
        unloaded = Serving(policy=None, degraded=active is not None)
        before = self._serving.setdefault(engine, unloaded)
        loaded = await self._loaded(engine)
        served = active
        while served is not None and not await self._is_ready(served, loaded):
            served = by_name.get(served.parent) if served.parent else None
        degraded = served != active
        tried = canary if canary and not degraded and await self._is_ready(canary, loaded) else None
        self._serving[engine] = Serving(
            policy=served.name if served else None,
            canary=tried.name if tried else None,
            degraded=degraded,
        )
        if self._serving[engine] != before:
            log.info("%s is served by %s", engine, _said(self._serving[engine]))
        kept = {p.name for p in (active, canary, served) if p is not None}
        before_it = {active.parent} if active is not None and active.parent else set()
        for name in sorted((before_it | self._named) & by_name.keys()):
            kept.add(name)
            await self._is_ready(by_name[name], loaded)
        await self._unload(engine, [by_name[n] for n in loaded if n in by_name and n not in kept])

    async def _loaded(self, engine: str) -> set[str]:
        """What the engine serves; what it served last while it does not say."""
        with contextlib.suppress(EngineError, TimeoutError):
            async with asyncio.timeout(LIST_S):
                self._loaded_in[engine] = set(await self._engines[engine].policies())
        return self._loaded_in.setdefault(engine, set())

    async def _is_ready(self, policy: Policy, loaded: set[str]) -> bool:
        """Whether the engine serves it; it is loaded where it is not."""
        if policy.name in loaded:
            return True
        fault = await self._load(policy)
        if fault and self._told.get(policy.name) != fault:
            log.warning("%s cannot serve: %s", policy.name, fault)
        self._told[policy.name] = fault
        if not fault:
            loaded.add(policy.name)
        return not fault

    async def _load(self, policy: Policy) -> str:
        """Why it could not be loaded; nothing when it was."""
        if policy.path is None or not await asyncio.to_thread(Path(policy.path).is_dir):
            return f"its files are not in {policy.path}"
        try:
            await self._engines[policy.engine].load_policy(policy.name, Path(policy.path))
        except EngineError as failed:
            return failed.message
        return ""

    async def _unload(self, engine: str, unused: list[Policy]) -> None:
        """Make room, but not under requests that may still be answered."""
        for policy in unused:
            gone = policy.status in ("retired", "refused")
            if not gone or self._clock() - (policy.changed_at or 0.0) < UNLOAD_AFTER_S:
                continue
            try:
                await self._engines[engine].unload_policy(policy.name)
            except EngineError as failed:
                log.warning("%s could not be unloaded: %s", policy.name, failed.message)


def _said(serving: Serving) -> str:
    tried = f", {serving.canary} tries a share" if serving.canary else ""
    fell_back = ", because the active policy cannot be loaded" if serving.degraded else ""
    return f"{serving.policy or 'the base model'}{tried}{fell_back}"


def draw(canary: str, trace_id: str) -> float:
    """A number in [0, 1) that belongs to a request; another canary draws others."""
    digest = hashlib.sha256(f"{canary}/{trace_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
