"""Equal requests of several gateways draw once: who holds the lease draws, the others wait.

A lease is one key with a random token that lives three seconds and is renewed every second, so a
gateway that dies holds nobody up for longer. It is taken, given up and taken over by scripts, which
Redis runs whole: of all that wait exactly one finds it free. Waiting is asking again, every few
hundredths of a second, once a process and key: there is no message that could be missed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from redis.commands.core import AsyncScript

from app.cache.base import MAX_ENTRY_BYTES, Budget, CacheEntry, CacheEvent, WaitedTooLong
from app.cache.link import Link
from app.cache.seal import SEAL_BYTES
from app.errors import CacheError

LEASE_MS = 3_000
RENEW_S = 1.0
SHARED_MS = 10_000
"""A result waits this long for those who waited for it."""
POLL_FIRST_S = 0.01
POLL_MOST_S = 0.1

# A lease that was not written by these scripts, or that would never end, is none.
_JOIN = f"""
local lease, result, entry = KEYS[1], KEYS[2], KEYS[3]
local token, cap, deadline, following = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
if following ~= '' then
  local shared = redis.call('GETRANGE', result, 0, {MAX_ENTRY_BYTES + SEAL_BYTES})
  if shared ~= '' then return {{'shared', shared}} end
end
local held = redis.call('GET', lease)
if held then
  local left = redis.call('PTTL', lease)
  local holder, most, within = string.match(held, '^(%x+) (%d+) (%d+)$')
  if holder == token then return {{'lead', ''}} end
  if holder and left > 0 and left <= {LEASE_MS}
      and tonumber(most) >= cap and tonumber(within) >= deadline then
    return {{'wait', holder}}
  end
end
if ARGV[5] == 'look' then
  local found = redis.call('GETRANGE', entry, 0, {MAX_ENTRY_BYTES + SEAL_BYTES})
  if found ~= '' then return {{'found', found}} end
end
redis.call('SET', lease, token .. ' ' .. ARGV[2] .. ' ' .. ARGV[3], 'PX', {LEASE_MS})
return {{following == '' and 'lead' or 'taken over', ''}}
"""
_RENEW = f"""
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^%x+') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], {LEASE_MS})
"""
_LEAVE = f"""
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'PX', {SHARED_MS}) end
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%x+') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class Read(Protocol):
    def __call__(self, name: str, value: bytes, *, kept: bool) -> CacheEntry | None:
        """The entry in a sealed value, or None. `kept`: it was put there to be kept."""
        ...


Write = Callable[[str, CacheEntry], bytes]
"""Seals an entry for a name; nothing for one that is too large."""


@dataclass(frozen=True, slots=True)
class FlightNames:
    """Where one flight is kept."""

    lease: str
    entry: str
    """Where a verified answer would be."""

    def result(self, token: str) -> str:
        return f"{self.lease}:{token}"


@dataclass(eq=False, slots=True)
class Lease:
    """The right to draw, for as long as it is renewed."""

    names: FlightNames
    token: str
    returned: bool = False


class Leases:
    """The leases of one server."""

    def __init__(
        self, link: Link, read: Read, write: Write, count: Callable[[CacheEvent], None]
    ) -> None:
        self._link = link
        self._read = read
        self._write = write
        self._count = count
        self._join = link.redis.register_script(_JOIN)
        self._renew = link.redis.register_script(_RENEW)
        self._leave = link.redis.register_script(_LEAVE)

    @asynccontextmanager
    async def enter(
        self, names: FlightNames, budget: Budget, *, wait_s: float
    ) -> AsyncIterator[Lease | CacheEntry]:
        """The lease, or what its holder came to. Raises `WaitedTooLong`, and `CacheError` when the
        server is away."""
        lease = Lease(names, secrets.token_hex(16))
        renewing: asyncio.Task[None] | None = None
        try:
            entry = await self._take(lease, budget, wait_s)
            if entry is not None:
                lease.returned = True
                yield entry
                return
            renewing = asyncio.create_task(self._renew_until_lost(lease))
            yield lease
        finally:
            if renewing is not None:
                renewing.cancel()
            if not lease.returned:
                # Also when taking it failed: it may have been taken and only not been heard of.
                self._link.spawn(self._return(lease, b""))

    async def share(self, lease: Lease, entry: CacheEntry) -> None:
        """Hand the result to those who wait, and the lease back. Raises `CacheError`."""
        lease.returned = True
        await self._return(lease, self._write(lease.names.result(lease.token), entry))

    async def _take(self, lease: Lease, budget: Budget, wait_s: float) -> CacheEntry | None:
        """None once the lease is held, else what was found instead."""
        loop = asyncio.get_running_loop()
        until, pause_s = loop.time() + wait_s, POLL_FIRST_S
        names, following, look = lease.names, "", "look"
        while True:
            keys = (names.lease, names.result(following), names.entry)
            asked = (lease.token, budget.cap, budget.deadline_ms, following, look)
            word, value = await self._run(self._join, keys, asked)
            if word in (b"lead", b"taken over"):
                if word == b"taken over":
                    self._count("taken_over")
                return None
            if word == b"wait":
                following = value.decode()
            else:
                found = word == b"found"
                entry = self._read(names.entry if found else keys[1], value, kept=found)
                if entry is not None:
                    return entry
                look = "" if found else look
            if (left_s := until - loop.time()) <= 0:
                raise WaitedTooLong
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(1.5 * pause_s, POLL_MOST_S)

    async def _renew_until_lost(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                held = await self._run(self._renew, (lease.names.lease,), (lease.token,))
            except CacheError:
                continue
            if not held:
                return

    async def _return(self, lease: Lease, result: bytes) -> None:
        keys = (lease.names.lease, lease.names.result(lease.token))
        await self._run(self._leave, keys, (lease.token, result))

    async def _run(
        self, script: AsyncScript, keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> Any:
        return await self._link.run(
            lambda redis: script(keys=list(keys), args=list(arguments), client=redis)
        )
