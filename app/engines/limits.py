"""How much an engine may ask of its server at once: samples in flight, and retries.

Both are per engine and in memory; several gateways in front of one server do not share them.
"""

from __future__ import annotations

import asyncio
from collections import deque

from app.errors import Overloaded

MAX_WAIT_S = 2.0
MAX_WAITING = 64


class InflightSamples:
    """At most `limit` samples in flight; the rest wait in line, briefly."""

    def __init__(
        self, limit: int, *, max_wait_s: float = MAX_WAIT_S, max_waiting: int = MAX_WAITING
    ) -> None:
        self._limit = limit
        self._max_wait_s = max_wait_s
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.count = 0

    async def take(self, n: int) -> int:
        """Wait for room for `n` samples; returns what must be given back.

        A round larger than the limit takes the whole limit. Raises `Overloaded` when the line is
        full or the wait is too long.
        """
        n = min(n, self._limit)
        if not self._waiting and self.count + n <= self._limit:
            self.count += n
            return n
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded("Too many requests wait for the model server.", retry_after_s=1.0)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (n, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._max_wait_s):
                await turn
        except TimeoutError:
            self._leave(entry)
            raise Overloaded(
                f"The model server had no room for {self._max_wait_s:g} s.", retry_after_s=1.0
            ) from None
        except asyncio.CancelledError:
            self._leave(entry)
            raise
        return n

    def give_back(self, n: int) -> None:
        self.count -= n
        while self._waiting and self.count + self._waiting[0][0] <= self._limit:
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.count += wanted
                turn.set_result(None)

    def _leave(self, entry: tuple[int, asyncio.Future[None]]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
            self.give_back(0)
        elif entry[1].done() and not entry[1].cancelled():
            # The turn came in the same moment: what was granted goes to the next in line.
            self.give_back(entry[0])


class RetryBudget:
    """Retries are at most a fifth of the calls, plus three: a storm cannot feed itself."""

    SHARE = 0.2
    SPARE = 3.0
    MOST = 10.0

    def __init__(self) -> None:
        self._left = self.SPARE

    def called(self) -> None:
        self._left = min(self.MOST, self._left + self.SHARE)

    def take(self) -> bool:
        """True when one retry may be made; it is then spent."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
