"""Verified answers in this process: bounded by bytes, least recently used out first.

Entries are not shared between processes and are gone with this one.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.cache.base import CacheEntry, CacheStats

JITTER = 0.1
_ENTRY_OVERHEAD_BYTES = 512
_MOST_REFUSALS = 10_000


@dataclass(slots=True)
class _Stored:
    entry: CacheEntry
    size: int
    expires_at: float


@dataclass(slots=True)
class _Lane:
    """One key in flight: whoever holds the lock leads."""

    lock: asyncio.Lock
    holders: int = 0
    shared: CacheEntry | None = None


class MemoryFlight:
    def __init__(self, lane: _Lane, entry: CacheEntry | None) -> None:
        self._lane = lane
        self.entry = entry

    def share(self, entry: CacheEntry) -> None:
        self._lane.shared = entry


class MemoryCache:
    """An exact-key cache with one flight a key."""

    def __init__(self, *, ttl_s: float, max_bytes: int, clock: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._stored: OrderedDict[str, _Stored] = OrderedDict()
        self._bytes = 0
        self._lanes: dict[str, _Lane] = {}
        self._refused: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._hits = self._misses = self._evictions = 0

    async def get(self, key: str) -> CacheEntry | None:
        stored = self._stored.get(key)
        if stored is not None and stored.expires_at <= self._clock():
            self._drop(key)
            stored = None
        if stored is None:
            self._misses += 1
            return None
        self._stored.move_to_end(key)
        self._hits += 1
        return stored.entry

    async def put(self, entry: CacheEntry) -> None:
        size = len(entry.group.to_json()) + _ENTRY_OVERHEAD_BYTES
        if size > self._max_bytes or (entry.key, _answer_of(entry)) in self._refused:
            return
        if entry.key in self._stored:
            self._drop(entry.key)
        lifetime_s = self._ttl_s * (1 + JITTER * _spread(entry.key))
        self._stored[entry.key] = _Stored(entry, size, entry.created_at + lifetime_s)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._stored)))
            self._evictions += 1

    async def delete(self, trace_id: str) -> int:
        """Drop what came from this trace, and refuse the same answer under the same key again."""
        doomed = [k for k, s in self._stored.items() if s.entry.group.trace_id == trace_id]
        for key in doomed:
            self._refused[(key, _answer_of(self._stored[key].entry))] = None
            if len(self._refused) > _MOST_REFUSALS:
                self._refused.popitem(last=False)
            self._drop(key)
        return len(doomed)

    @asynccontextmanager
    async def flight(self, key: str) -> AsyncIterator[MemoryFlight]:
        lane = self._lanes.setdefault(key, _Lane(asyncio.Lock()))
        lane.holders += 1
        try:
            async with lane.lock:
                yield MemoryFlight(lane, lane.shared)
        finally:
            lane.holders -= 1
            if lane.holders == 0:
                self._lanes.pop(key, None)

    async def stats(self) -> CacheStats:
        return CacheStats(
            entries=len(self._stored),
            bytes=self._bytes,
            hits=self._hits,
            misses=self._misses,
            evictions=self._evictions,
        )

    def _drop(self, key: str) -> None:
        self._bytes -= self._stored.pop(key).size


def _answer_of(entry: CacheEntry) -> str:
    winner = entry.group.winner
    return (winner.answer.key or winner.sample.text) if winner else ""


def _spread(key: str) -> float:
    """-1..1, fixed for a key, so that entries admitted together do not expire together."""
    return zlib.crc32(key.encode()) / 0x7FFFFFFF - 1
