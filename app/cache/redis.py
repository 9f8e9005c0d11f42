"""The cache on a Redis server, shared by all gateways that have the same key.

Who can write to the server can delete entries and refuse admissions, and so cost samples, but not
plant an answer (app/cache/vault.py). The server is given a budget for each operation, then bypassed
(app/cache/link.py). Its memory is its own to bound, by `maxmemory` with an eviction policy: entries
end by themselves and are at most 1 MiB.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from app.cache.base import (
    MAX_ENTRY_BYTES,
    Budget,
    CacheEntry,
    CacheEvent,
    CacheRefused,
    CacheStats,
    Events,
    Flight,
    WaitedTooLong,
)
from app.cache.flight import LocalFlights, LocalSeat
from app.cache.key import CacheKeys, tenant_tag
from app.cache.lease import FlightNames, Lease, Leases
from app.cache.link import Link
from app.cache.seal import SEAL_BYTES
from app.cache.vault import Vault
from app.errors import CacheError

log = logging.getLogger("verivote.cache")

REFUSED_S = 30 * 86_400
"""How long an answer that was reported wrong is not admitted again."""
INDEX_FACTOR = 1.2
"""The list of a trace's entries outlives every one of them."""
MOST_OF_A_TRACE = 64
MOST_PENDING = 10_000
SCAN_COUNT = 500
MOST_SCANS = 200

# KEYS: entry, pointer, refusal, one list a trace. ARGV: entry, ms, pointer or nothing, list's ms.
_PUT = """
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2]) end
for i = 4, #KEYS do
  redis.call('SADD', KEYS[i], KEYS[1])
  redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
return 1
"""


class RedisSeat:
    """A place in a flight that other processes see."""

    def __init__(self, seat: LocalSeat, leases: Leases, held: Lease | CacheEntry | None) -> None:
        """`held` None: the server is away, and only this process knows of the flight."""
        self._seat = seat
        self._leases = leases
        self._lease = held if isinstance(held, Lease) else None
        self.entry = held if isinstance(held, CacheEntry) else None

    async def share(self, entry: CacheEntry) -> None:
        await self._seat.share(entry)
        if self._lease is not None:
            try:
                await self._leases.share(self._lease, entry)
            except CacheError:
                return  # the others will find that the lease has ended


class RedisCache:
    """Entries, pointers, refusals and leases on one server."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        key: bytes,
        ttl_s: float,
        clock: Callable[[], float],
        budget_s: float,
        listener: Callable[[CacheEvent], None] | None = None,
    ) -> None:
        """`key` signs; `clock` is Unix time in seconds. Raises `ConfigError` for a bad URL."""
        self._url = url
        self._ttl_s = ttl_s
        self._events = Events(listener)
        self._link = Link(url, budget_s=budget_s, count=self.count, on_back=self._retry_deletions)
        self._vault = Vault(
            prefix=prefix,
            key=key,
            ttl_s=ttl_s,
            clock=clock,
            discard=lambda name: self._link.spawn(self._unlink(name)),
            count=self.count,
        )
        self._put = self._link.redis.register_script(_PUT)
        self._flights = LocalFlights()
        self._leases = Leases(self._link, self._open_found, self._vault.close, self.count)
        self._pending: OrderedDict[str, bool] = OrderedDict()
        """Traces whose entries could not be deleted yet, and whether they are refused."""
        self._retrying = False

    async def start(self) -> None:
        await self._link.start()

    async def close(self) -> None:
        await self._link.close()

    @property
    def is_up(self) -> bool:
        return self._link.state == "closed"

    async def find(self, keys: CacheKeys, *, cap: int) -> CacheEntry | None:
        vault = self._vault
        exact, attempt = vault.entry(keys.exact), vault.negative(keys.attempt)
        question = vault.question(keys.question)
        values = await self._read(exact, attempt, question)
        self._retry_deletions()
        if (found := self._servable(exact, values[0])) is not None:
            self.count("hit")
            return found
        negative = self._servable(attempt, values[1])
        if negative is not None and negative.cap >= cap:
            self.count("negative")
            return negative
        self.count("miss")
        latest = vault.open_pointer(question, values[2])
        if latest is None or latest == keys.exact:
            return None
        older = await self.get(latest)
        return older if older is not None and older.question == keys.question else None

    async def get(self, key: str) -> CacheEntry | None:
        name = self._vault.entry(key)
        return self._servable(name, (await self._read(name))[0])

    async def put(self, entry: CacheEntry) -> None:
        vault = self._vault
        name, question = vault.home(entry), vault.question(entry.question)
        if not (sealed := vault.close(name, entry)):
            return
        pointer = vault.close_pointer(question, entry.key) if entry.kind == "verified" else b""
        lives_ms = max(1, int(1000 * entry.lifetime_s(self._ttl_s)))
        listed_ms = max(1, int(1000 * INDEX_FACTOR * self._ttl_s))
        lists = (vault.trace(trace_id) for trace_id in entry.trace_ids)
        names = [name, question, vault.refusal(entry), *lists]
        try:
            kept = await self._link.run(
                lambda redis: self._put(
                    keys=names, args=[sealed, lives_ms, pointer, listed_ms], client=redis
                )
            )
        except CacheRefused:
            self.count("write_refused")
            raise
        if not kept:
            self.count("not_readmitted")

    async def delete(self, trace_id: str, *, refuse: bool = True) -> int:
        try:
            return await self._delete(trace_id, refuse)
        except CacheError as error:
            log.warning("what came from %s is deleted later: %s", trace_id, error.message)
            self._pending[trace_id] = refuse or self._pending.get(trace_id, False)
            if len(self._pending) > MOST_PENDING:
                self._pending.popitem(last=False)
            return 0

    async def purge(self, tenant: str | None) -> int:
        tag, dropped = "" if tenant is None else tenant_tag(tenant), 0
        for named in (self._vault.entry, self._vault.negative):
            async for names in self._scan(named(f"{tag}*")):
                dropped += await self._unlink(*names)
        async for names in self._scan(self._vault.question(f"{tag}*")):
            await self._unlink(*names)
        return dropped

    @asynccontextmanager
    async def flight(
        self, keys: CacheKeys, budget: Budget, *, wait_s: float, remote: bool = True
    ) -> AsyncIterator[Flight]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        async with self._flights.enter(keys.attempt, budget, wait_s=wait_s) as seat:
            if seat.entry is not None or not remote:
                if seat.entry is not None:
                    self.count("coalesced")
                yield seat
                return
            names = FlightNames(self._vault.flight(keys), self._vault.entry(keys.exact))
            async with AsyncExitStack() as leaving:
                held: Lease | CacheEntry | None = None
                try:
                    entering = self._leases.enter(names, budget, wait_s=until - loop.time())
                    held = await leaving.enter_async_context(entering)
                except WaitedTooLong:
                    raise
                except CacheError:
                    pass  # away: equal requests of this process still draw once
                if isinstance(held, CacheEntry):
                    self.count("coalesced")
                    await seat.share(held)
                yield RedisSeat(seat, self._leases, held)

    async def stats(self) -> CacheStats:
        entries, negatives = _Counted(), _Counted()
        if self.is_up:
            entries = await self._survey(self._vault.entry("*"))
            negatives = await self._survey(self._vault.negative("*"))
        return CacheStats(
            place=without_credentials(self._url),
            state=self._link.state,
            fault=self._link.fault,
            entries=entries.number,
            negatives=negatives.number,
            bytes=entries.bytes + negatives.bytes,
            complete=entries.complete and negatives.complete,
            flights=len(self._flights),
            events=self._events.numbers(),
        )

    def count(self, event: CacheEvent) -> None:
        self._events.count(event)

    # Reading -----------------------------------------------------------------------------------

    async def _read(self, *names: str) -> list[bytes]:
        """One value a name, cut where no entry of ours is as long; empty where there is none."""

        async def read(redis: Redis) -> list[Any]:
            async with redis.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.getrange(name, 0, MAX_ENTRY_BYTES + SEAL_BYTES)
                return await pipeline.execute(raise_on_error=False)

        values = await self._link.run(read)
        for name, value in zip(names, values, strict=True):
            if not isinstance(value, bytes):
                self._vault.reject(name)  # no string, so no gateway wrote it
        return [value if isinstance(value, bytes) else b"" for value in values]

    def _servable(self, name: str, value: bytes) -> CacheEntry | None:
        """The living entry of this name, unless it is to be deleted."""
        entry = self._vault.open_kept(name, value)
        if entry is None or self._pending.keys() & set(entry.trace_ids):
            return None
        return entry

    def _open_found(self, name: str, value: bytes, *, kept: bool) -> CacheEntry | None:
        """What a flight found: the entry of its key, or a result that was shared."""
        return self._servable(name, value) if kept else self._vault.open(name, value)

    # Deletion ----------------------------------------------------------------------------------

    async def _delete(self, trace_id: str, refuse: bool) -> int:
        dropped = 0
        traces, seen = [trace_id], {trace_id}
        while traces:
            for name in await self._listed(traces.pop()):
                entry = self._vault.open_kept(name, (await self._read(name))[0])
                if entry is None or not seen.intersection(entry.trace_ids):
                    continue
                await self._drop(name, entry, refuse)
                dropped += 1
                fresh = set(entry.trace_ids) - seen
                seen |= fresh
                traces += fresh
        return dropped

    async def _listed(self, trace_id: str) -> list[str]:
        """Names under which something of a trace may be kept, as far as one can trust the list."""
        members: Any = await self._link.run(
            lambda redis: redis.srandmember(self._vault.trace(trace_id), MOST_OF_A_TRACE)
        )
        homes = (self._vault.entry("").encode(), self._vault.negative("").encode())
        return [member.decode("ascii", "replace") for member in members if member.startswith(homes)]

    async def _drop(self, name: str, entry: CacheEntry, refuse: bool) -> None:
        async def drop(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipeline:
                if refuse:
                    pipeline.set(self._vault.refusal(entry), 1, ex=REFUSED_S)
                pipeline.unlink(name)
                await pipeline.execute()

        await self._link.run(drop)

    async def _unlink(self, *names: str | bytes) -> int:
        return await self._link.run(lambda redis: redis.unlink(*names))

    def _retry_deletions(self) -> None:
        if self._pending and not self._retrying:
            self._retrying = True
            self._link.spawn(self._delete_pending())

    async def _delete_pending(self) -> None:
        try:
            for trace_id, refuse in list(self._pending.items()):
                await self._delete(trace_id, refuse)
                self._pending.pop(trace_id, None)
        finally:
            self._retrying = False

    # Counting ----------------------------------------------------------------------------------

    async def _survey(self, pattern: str) -> _Counted:
        """How many entries match and how long they are; stops where the server is too slow."""
        number = size = scans = 0
        try:
            async for names in self._scan(pattern):
                number += len(names)
                size += sum(await self._sizes(names))
                scans += 1
                if scans == MOST_SCANS:
                    return _Counted(number, size, complete=False)
        except CacheError:
            return _Counted(number, size, complete=False)
        return _Counted(number, size, complete=True)

    async def _scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Names that match, a batch at a time; a name may come twice."""
        cursor = 0
        while True:
            cursor, names = await self._scan_from(cursor, pattern)
            if names:
                yield names
            if not cursor:
                return

    async def _scan_from(self, cursor: int, pattern: str) -> Any:
        return await self._link.run(
            lambda redis: redis.scan(cursor, match=pattern, count=SCAN_COUNT)
        )

    async def _sizes(self, names: Sequence[bytes]) -> list[int]:
        async def read(redis: Redis) -> list[Any]:
            async with redis.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.strlen(name)
                return await pipeline.execute(raise_on_error=False)

        sizes = await self._link.run(read)
        return [size if isinstance(size, int) else 0 for size in sizes]


@dataclass(frozen=True, slots=True)
class _Counted:
    number: int = 0
    bytes: int = 0
    complete: bool = False


def without_credentials(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
