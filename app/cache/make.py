"""Settings → cache: the back end that `cache.url` names."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping

from app.cache.base import Cache, CacheEvent
from app.cache.memory import MemoryCache
from app.errors import ConfigError
from app.settings import CacheSettings

MEMORY = "memory://"
SHORTEST_KEY = 16
BUDGET_S = 0.05
"""What one operation on a server may take, inside a request."""


def make_cache(
    settings: CacheSettings,
    secret: bytes,
    *,
    clock: Callable[[], float],
    listener: Callable[[CacheEvent], None] | None = None,
    budget_s: float = BUDGET_S,
) -> Cache:
    """`secret` is the server's own random bytes. Raises `ConfigError` that names the key."""
    if settings.url == MEMORY:
        return MemoryCache(
            ttl_s=settings.ttl_s, max_bytes=settings.max_bytes, clock=clock, listener=listener
        )
    # Loaded where it is needed: a gateway that caches in memory has no use for the client.
    from app.cache.redis import RedisCache

    return RedisCache(
        settings.url,
        prefix=settings.prefix,
        key=signing_key(settings, secret),
        ttl_s=settings.ttl_s,
        clock=clock,
        budget_s=budget_s,
        listener=listener,
    )


def signing_key(
    settings: CacheSettings, secret: bytes, environ: Mapping[str, str] = os.environ
) -> bytes:
    """What entries are signed with: of the named variable, else of the server's own secret."""
    if not settings.hmac_key:
        return hmac.digest(secret, b"cache", "sha256")
    name = settings.hmac_key.removeprefix("env:")
    if name not in environ:
        raise ConfigError(f"cache.hmac_key names the environment variable '{name}', which is unset")
    if len(environ[name]) < SHORTEST_KEY:
        raise ConfigError(f"cache.hmac_key: '{name}' has fewer than {SHORTEST_KEY} characters")
    return hmac.digest(environ[name].encode(), b"cache", "sha256")
