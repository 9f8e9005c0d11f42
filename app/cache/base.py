"""The cache contract: what was found once is not drawn again.

Three things are kept: verified answers under an exact key, short notes that no answer could be
verified with a given budget, and who is drawing right now. `MemoryCache` keeps them in this
process, `RedisCache` where several gateways see them.
A cache never fails a request: what is away raises `CacheError`, and the one caller that asks
(app/reuse.py) goes on without it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.cache.key import CacheKeys
from app.errors import CacheError
from app.group import Group

JITTER = 0.1
NEGATIVE_S = 180.0
NEGATIVE_SPREAD_S = 120.0
MAX_ENTRY_BYTES = 2**20
"""A larger entry is not kept: one huge answer must not push out a thousand others."""

EntryKind = Literal["verified", "negative"]
CacheEvent = Literal[
    "hit",
    "negative",
    "miss",
    "coalesced",
    "reverified",
    "near",
    "evicted",
    "bad_signature",
    "not_readmitted",
    "write_refused",
    "late",
    "failed",
    "opened",
    "closed",
    "taken_over",
]
LinkState = Literal["closed", "half_open", "open"]
"""As of a circuit breaker: `closed` works, `open` is bypassed, `half_open` is being tried."""


class WaitedTooLong(CacheError):
    """The deadline passed while an equal request was being answered."""


class CacheRefused(CacheError):
    """The cache answered and said no: it is full, or may only be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a request may spend."""

    cap: int
    """Samples at most."""
    deadline_ms: int

    def covers(self, other: Budget) -> bool:
        """True when a result of this budget is all that the other could have come to."""
        return self.cap >= other.cap and self.deadline_ms >= other.deadline_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A group that may be served again, or that says that nothing could be verified."""

    key: str
    """The exact key of a verified answer; the key of the attempt for a negative one."""
    group: Group
    """The source group, reduced to what it returned."""
    created_at: float
    """Unix time in seconds."""
    kind: EntryKind = "verified"
    question: str = ""
    """Key of the question, whatever model and verifiers are current."""
    policy: str = ""
    """Version of the model that was asked first; a fallback may have answered."""
    cap: int = 0
    """Samples that the source could have drawn."""
    origins: tuple[str, ...] = ()
    """Traces that this answer was verified in before, oldest first."""

    @property
    def tenant(self) -> str:
        return self.group.task.tenant

    @property
    def trace_ids(self) -> tuple[str, ...]:
        """Every trace that stands behind it."""
        return (*self.origins, self.group.trace_id)

    @property
    def answer(self) -> str:
        """What it says; with `question` it is what a wrong-answer report refuses."""
        winner = self.group.winner
        return (winner.answer.key or winner.sample.text) if winner else ""

    def lifetime_s(self, ttl_s: float) -> float:
        """Fixed for a key, and different for keys that were admitted together."""
        spread = zlib.crc32(self.key.encode()) / 0x7FFFFFFF - 1
        verified_s = ttl_s * (1 + JITTER * spread)
        if self.kind == "verified":
            return verified_s
        return min(verified_s, NEGATIVE_S + NEGATIVE_SPREAD_S * spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What is kept, and what this process has seen of it since it started."""

    place: str
    """Address without credentials; `memory://` for this process."""
    state: LinkState
    fault: str = ""
    """Why it is bypassed; empty while it works."""
    entries: int
    """Verified answers."""
    negatives: int
    bytes: int
    complete: bool = True
    """False when there was more than could be counted in time."""
    flights: int
    """Keys that are being drawn for in this process."""
    events: Mapping[CacheEvent, int] = field(default_factory=dict)


class Flight(Protocol):
    """The right to draw for a key, or somebody else's result."""

    @property
    def entry(self) -> CacheEntry | None:
        """The leader's answer, verified or not, for one who waited; None: this caller leads."""
        ...

    async def share(self, entry: CacheEntry) -> None:
        """Give the answer to everybody who waits for this key now; it is not kept."""
        ...


class Cache(Protocol):
    """Methods raise `CacheError` when the back end is away, unless they say otherwise."""

    async def start(self) -> None:
        """Never raises for a back end that is away."""
        ...

    async def close(self) -> None: ...

    @property
    def is_up(self) -> bool:
        """False while the back end is bypassed."""
        ...

    async def find(self, keys: CacheKeys, *, cap: int) -> CacheEntry | None:
        """The verified answer to exactly this; else the note that no answer could be verified
        with at least `cap` samples; else the latest verified answer to the same question, made or
        checked by other versions, which must be checked anew before it is served."""
        ...

    async def get(self, key: str) -> CacheEntry | None:
        """The live entry under one key."""
        ...

    async def put(self, entry: CacheEntry) -> None:
        """Keep it, unless it is too large or was refused."""
        ...

    async def delete(self, trace_id: str, *, refuse: bool = True) -> int:
        """Drop what came from this trace, and what was checked anew from it; how many entries.

        `refuse`: the same answers to the same questions are not admitted again. Never raises: what
        cannot be deleted now is not served by this process and deleted later.
        """
        ...

    async def purge(self, tenant: str | None) -> int:
        """Drop all entries of a tenant, or of everybody; what was refused stays refused."""
        ...

    def flight(
        self, keys: CacheKeys, budget: Budget, *, wait_s: float, remote: bool = True
    ) -> AbstractAsyncContextManager[Flight]:
        """Enter alone for this attempt, or wait for whoever is in.

        Nobody waits for a flight whose budget does not cover theirs. When the leader leaves
        without sharing, or dies, exactly one waiter leads next. Raises `WaitedTooLong` after
        `wait_s`, and no other `CacheError`. `remote=False` keeps it in this process.
        """
        ...

    async def stats(self) -> CacheStats: ...

    def count(self, event: CacheEvent) -> None:
        """Note what was made of an entry outside."""
        ...


class Events:
    """Counts events and tells whoever listens."""

    def __init__(self, listener: Callable[[CacheEvent], None] | None = None) -> None:
        self._numbers: Counter[CacheEvent] = Counter()
        self._listener = listener

    def count(self, event: CacheEvent) -> None:
        self._numbers[event] += 1
        if self._listener is not None:
            self._listener(event)

    def numbers(self) -> dict[CacheEvent, int]:
        return dict(self._numbers)
