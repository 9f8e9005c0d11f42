"""The cache contract: verified answers under an exact key, one flight a key.

`MemoryCache` keeps entries in this process. A cache never fails a request: what is away is one word
in `degraded`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from app.group import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A verified answer with its proof."""

    key: str
    group: Group
    """The source group, reduced to its winner."""
    created_at: float
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int


class Flight(Protocol):
    """The right to draw for a key, or somebody else's result."""

    entry: CacheEntry | None
    """The leader's answer, verified or not, for a caller who waited; None: this caller leads."""

    def share(self, entry: CacheEntry) -> None:
        """Give the answer to everybody who waits for this key now; it is not kept."""
        ...


class Cache(Protocol):
    async def get(self, key: str) -> CacheEntry | None:
        """The live entry, or None. Never raises for an absent back end."""
        ...

    async def put(self, entry: CacheEntry) -> None: ...

    async def delete(self, trace_id: str) -> int:
        """Drop entries that came from this trace and refuse them again; how many were dropped."""
        ...

    def flight(self, key: str) -> AbstractAsyncContextManager[Flight]:
        """Enter alone for this key, or wait for whoever is in. When the leader leaves without
        sharing, exactly one waiter leads next."""
        ...

    async def stats(self) -> CacheStats: ...
