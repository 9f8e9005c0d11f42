"""What may be served of a store that others can write to, and under which names it is kept there.

Nothing that is read is trusted: a value must carry this gateway's signature for the very name under
which it was found, be of the tenant in that name, and be of an age at which it may still live. What
fails is a miss, is counted and goes away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256

from app.cache.base import MAX_ENTRY_BYTES, CacheEntry, CacheEvent
from app.cache.entry import ENTRY_VERSION, NotAnEntry, entry_from_bytes, entry_to_bytes
from app.cache.key import CacheKeys, tenant_tag
from app.cache.seal import BadSeal, Seal

log = logging.getLogger("verivote.cache")


class Vault:
    """Names, seals and opens what one key holder keeps. Pure, but for `discard` and `count`."""

    def __init__(
        self,
        *,
        prefix: str,
        key: bytes,
        ttl_s: float,
        clock: Callable[[], float],
        discard: Callable[[str], None],
        count: Callable[[CacheEvent], None],
    ) -> None:
        """`clock` is Unix time in seconds; `discard` drops the value under a name, later."""
        self._seal = Seal(key)
        self._root = f"{prefix}:v{ENTRY_VERSION}:{self._seal.key_id}"
        self._ttl_s = ttl_s
        self._clock = clock
        self._discard = discard
        self._count = count
        self._warned = False

    # Names -------------------------------------------------------------------------------------

    def entry(self, key: str) -> str:
        return f"{self._root}:e:{key}"

    def negative(self, key: str) -> str:
        return f"{self._root}:n:{key}"

    def question(self, key: str) -> str:
        return f"{self._root}:q:{key}"

    def flight(self, keys: CacheKeys) -> str:
        return f"{self._root}:f:{keys.attempt}"

    def trace(self, trace_id: str) -> str:
        return f"{self._root}:t:{trace_id}"

    def refusal(self, entry: CacheEntry) -> str:
        said = sha256(f"{entry.question}\x1f{entry.answer}".encode("utf-8", "surrogatepass"))
        return f"{self._root}:r:{said.hexdigest()}"

    def home(self, entry: CacheEntry) -> str:
        """Where this entry is kept."""
        return self.entry(entry.key) if entry.kind == "verified" else self.negative(entry.key)

    # Values ------------------------------------------------------------------------------------

    def close(self, name: str, entry: CacheEntry) -> bytes:
        """The sealed entry; nothing when it is too large to be kept."""
        told = entry_to_bytes(entry)
        return self._seal.close(name, told) if len(told) <= MAX_ENTRY_BYTES else b""

    def close_pointer(self, name: str, key: str) -> bytes:
        return self._seal.close(name, key.encode())

    def open(self, name: str, value: bytes) -> CacheEntry | None:
        """The entry that was sealed for this name."""
        if (opened := self._unseal(name, value)) is None:
            return None
        try:
            return entry_from_bytes(opened)
        except NotAnEntry as broken:
            log.warning("the cache entry %s cannot be read: %s", name, broken)
            self._discard(name)
            return None

    def open_kept(self, name: str, value: bytes) -> CacheEntry | None:
        """The entry whose home this name is, while it lives."""
        entry = self.open(name, value)
        if entry is None:
            return None
        if self.home(entry) != name or not entry.key.startswith(tenant_tag(entry.tenant)):
            self.reject(name)
            return None
        if entry.created_at + entry.lifetime_s(self._ttl_s) <= self._clock():
            self._discard(name)
            return None
        return entry

    def open_pointer(self, name: str, value: bytes) -> str | None:
        """The key that a question points at."""
        opened = self._unseal(name, value)
        return None if opened is None else opened.decode("ascii", "replace")

    def reject(self, name: str) -> None:
        """Away with what no gateway with this key has put there."""
        self._count("bad_signature")
        if not self._warned:
            self._warned = True
            log.error(
                "a cache entry was not written by a gateway with this key, and is not served: %s. "
                "Further ones are only counted",
                name,
            )
        self._discard(name)

    def _unseal(self, name: str, value: bytes) -> bytes | None:
        if not value:
            return None
        try:
            return self._seal.open(name, value)
        except BadSeal:
            self.reject(name)
            return None
