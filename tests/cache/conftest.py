"""Both caches, over one clock; Redis is a real server, started once a session."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.cache.base import Cache
from app.cache.memory import MemoryCache
from app.cache.redis import RedisCache
from tests.cache.entries import NOW
from tests.redis_server import RedisServer

KEY = b"a key of sixteen or more bytes"
PATIENT_S = 2.0
"""A budget that a busy machine does not spend; the tests of slowness give the real one."""


class Clock:
    """Unix seconds that move when a test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_redis_cache(clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    """`await open_redis_cache(url, …)` gives a started cache; all are closed at the end."""
    opened: list[RedisCache] = []

    async def open_cache(url: str, **changes: Any) -> RedisCache:
        given = {"prefix": "t", "key": KEY, "ttl_s": 100, "clock": clock, "budget_s": PATIENT_S}
        cache = RedisCache(url, **{**given, **changes})
        opened.append(cache)
        await cache.start()
        return cache

    yield open_cache
    for cache in opened:
        await cache.close()


@pytest.fixture(params=["memory", "redis"])
async def cache(
    request: pytest.FixtureRequest, clock: Clock, open_redis_cache: Callable[..., Any]
) -> Cache:
    """An empty cache of each kind with a lifetime of 100 s."""
    if request.param == "memory":
        return MemoryCache(ttl_s=100, max_bytes=10 * 2**20, clock=clock)
    server: RedisServer = request.getfixturevalue("redis_server")
    return await open_redis_cache(server.url, prefix=uuid.uuid4().hex)
