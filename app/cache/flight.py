"""Equal requests in this process draw once: one leads, the others wait, each for its own time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from app.cache.base import Budget, CacheEntry, WaitedTooLong

_Turn = CacheEntry | Literal["lead", "begin anew"]
"""What a waiter is told at last."""


@dataclass(eq=False, slots=True)
class _Waiter:
    budget: Budget
    told: asyncio.Future[_Turn]


class _Lane:
    """One flight: who leads it is not in here, who waits is."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        """The leader's; it covers that of everybody who waits."""
        self._waiting: list[_Waiter] = []

    async def wait(self, budget: Budget, wait_s: float) -> _Turn:
        """Raises `WaitedTooLong`."""
        waiter = _Waiter(budget, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(wait_s):
                return await waiter.told
        except BaseException as leaving:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.told.cancelled() and waiter.told.result() == "lead":
                self.pass_on()
            if isinstance(leaving, TimeoutError):
                raise WaitedTooLong from None
            raise

    def share(self, entry: CacheEntry) -> None:
        self._tell_all(entry)

    def pass_on(self) -> bool:
        """Let exactly one waiter lead, the one with the largest budget; False when nobody waits."""
        present = [waiter for waiter in self._waiting if not waiter.told.done()]
        if not present:
            return False
        heir = max(present, key=lambda waiter: (waiter.budget.cap, waiter.budget.deadline_ms))
        self.budget = heir.budget
        left, self._waiting = self._waiting, []
        for waiter in left:
            if waiter is heir:
                waiter.told.set_result("lead")
            elif heir.budget.covers(waiter.budget):
                self._waiting.append(waiter)
            elif not waiter.told.done():
                waiter.told.set_result("begin anew")
        return True

    def _tell_all(self, turn: _Turn) -> None:
        told, self._waiting = self._waiting, []
        for waiter in told:
            if not waiter.told.done():
                waiter.told.set_result(turn)


class LocalSeat:
    """A place in a flight of this process."""

    def __init__(self, lane: _Lane, entry: CacheEntry | None) -> None:
        self._lane = lane
        self.entry = entry

    async def share(self, entry: CacheEntry) -> None:
        self._lane.share(entry)


class LocalFlights:
    """The flights of this process, at most one open to newcomers under each name: whoever cannot
    wait for it, because its budget is too small, flies another one that takes its place."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    @asynccontextmanager
    async def enter(self, name: str, budget: Budget, *, wait_s: float) -> AsyncIterator[LocalSeat]:
        """Raises `WaitedTooLong`."""
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            lane = self._lanes.get(name)
            if lane is None or not lane.budget.covers(budget):
                lane = self._lanes[name] = _Lane(budget)
                break
            turn = await lane.wait(budget, until - asyncio.get_running_loop().time())
            if turn == "lead":
                break
            if isinstance(turn, CacheEntry):
                yield LocalSeat(lane, turn)
                return
        try:
            yield LocalSeat(lane, None)
        finally:
            # Who came after the result was shared was not told it: it leads next.
            if not lane.pass_on() and self._lanes.get(name) is lane:
                del self._lanes[name]
