"""The cache in this process: bounded by bytes, least recently used out first.

Entries are not shared between processes and are gone with this one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.cache.base import (
    MAX_ENTRY_BYTES,
    Budget,
    CacheEntry,
    CacheEvent,
    CacheStats,
    Events,
    Flight,
)
from app.cache.flight import LocalFlights
from app.cache.key import CacheKeys, tenant_tag

_ENTRY_OVERHEAD_BYTES = 512
_MOST_REFUSALS = 10_000


@dataclass(slots=True)
class _Stored:
    entry: CacheEntry
    size: int
    expires_at: float


class MemoryCache:
    """Everything in one dictionary; nothing here can be away."""

    def __init__(
        self,
        *,
        ttl_s: float,
        max_bytes: int,
        clock: Callable[[], float],
        listener: Callable[[CacheEvent], None] | None = None,
    ) -> None:
        """`clock` is Unix time in seconds."""
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._events = Events(listener)
        self._stored: OrderedDict[str, _Stored] = OrderedDict()
        self._latest: dict[str, str] = {}
        """Question → key of its latest verified answer; goes when that entry goes."""
        self._of_trace: dict[str, set[str]] = {}
        self._bytes = 0
        self._flights = LocalFlights()
        self._refused: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    @property
    def is_up(self) -> bool:
        return True

    async def find(self, keys: CacheKeys, *, cap: int) -> CacheEntry | None:
        if (found := self._live(keys.exact)) is not None:
            self.count("hit")
            return found
        negative = self._live(keys.attempt)
        if negative is not None and negative.cap >= cap:
            self.count("negative")
            return negative
        self.count("miss")
        latest = self._latest.get(keys.question)
        return self._live(latest) if latest is not None else None

    async def get(self, key: str) -> CacheEntry | None:
        return self._live(key)

    async def put(self, entry: CacheEntry) -> None:
        size = len(entry.group.to_json()) + _ENTRY_OVERHEAD_BYTES
        if size > min(self._max_bytes, MAX_ENTRY_BYTES):
            return
        if (entry.question, entry.answer) in self._refused:
            self.count("not_readmitted")
            return
        if entry.key in self._stored:
            self._drop(entry.key)
        expires_at = entry.created_at + entry.lifetime_s(self._ttl_s)
        self._stored[entry.key] = _Stored(entry, size, expires_at)
        if entry.kind == "verified":
            self._latest[entry.question] = entry.key
        for trace_id in entry.trace_ids:
            self._of_trace.setdefault(trace_id, set()).add(entry.key)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._stored)))
            self.count("evicted")

    async def delete(self, trace_id: str, *, refuse: bool = True) -> int:
        doomed = self._family(trace_id)
        for key in doomed:
            entry = self._stored[key].entry
            if refuse:
                self._refused[(entry.question, entry.answer)] = None
                if len(self._refused) > _MOST_REFUSALS:
                    self._refused.popitem(last=False)
            self._drop(key)
        return len(doomed)

    async def purge(self, tenant: str | None) -> int:
        tag = "" if tenant is None else tenant_tag(tenant)
        doomed = [key for key in self._stored if key.startswith(tag)]
        for key in doomed:
            self._drop(key)
        return len(doomed)

    @asynccontextmanager
    async def flight(
        self, keys: CacheKeys, budget: Budget, *, wait_s: float, remote: bool = True
    ) -> AsyncIterator[Flight]:
        async with self._flights.enter(keys.attempt, budget, wait_s=wait_s) as seat:
            if seat.entry is not None:
                self.count("coalesced")
            yield seat

    async def stats(self) -> CacheStats:
        negatives = sum(stored.entry.kind == "negative" for stored in self._stored.values())
        return CacheStats(
            place="memory://",
            state="closed",
            entries=len(self._stored) - negatives,
            negatives=negatives,
            bytes=self._bytes,
            flights=len(self._flights),
            events=self._events.numbers(),
        )

    def count(self, event: CacheEvent) -> None:
        self._events.count(event)

    def _live(self, key: str) -> CacheEntry | None:
        stored = self._stored.get(key)
        if stored is None:
            return None
        if stored.expires_at <= self._clock():
            self._drop(key)
            return None
        self._stored.move_to_end(key)
        return stored.entry

    def _family(self, trace_id: str) -> set[str]:
        """Keys of what came from this trace, and of whatever shares a trace with those."""
        keys: set[str] = set()
        traces, seen = [trace_id], {trace_id}
        while traces:
            for key in self._of_trace.get(traces.pop(), set()) - keys:
                keys.add(key)
                fresh = set(self._stored[key].entry.trace_ids) - seen
                seen |= fresh
                traces += fresh
        return keys

    def _drop(self, key: str) -> None:
        stored = self._stored.pop(key)
        self._bytes -= stored.size
        for trace_id in stored.entry.trace_ids:
            keys = self._of_trace[trace_id]
            keys.discard(key)
            if not keys:
                del self._of_trace[trace_id]
        if self._latest.get(stored.entry.question) == key:
            del self._latest[stored.entry.question]
