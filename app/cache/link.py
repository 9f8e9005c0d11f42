"""One Redis server, never waited for longer than a budget.

An operation that is late or fails raises `CacheError`. After three of them in a row the server is
bypassed: nothing is asked of it, and a probe beside the requests finds out when it answers within
the budget again. An answer that says no, for want of memory or of rights, is an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from app.cache.base import CacheEvent, CacheRefused, LinkState
from app.errors import CacheError, ConfigError

log = logging.getLogger("verivote.cache")

FAILURES_TO_OPEN = 3
CONNECT_S = 1.0
"""How long a probe may take to get a connection; the ping on it has the budget."""
PROBE_FIRST_S = 0.25
PROBE_MOST_S = 5.0
CLOSE_S = 0.2
"""What still runs beside the requests gets this long at the end."""
MAX_CONNECTIONS = 16
SLICES = 5

T = TypeVar("T")


class Link:
    """Runs operations on one server."""

    def __init__(
        self,
        url: str,
        *,
        budget_s: float,
        count: Callable[[CacheEvent], None] = lambda event: None,
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`url`: `redis://`, `rediss://` (TLS) or `unix://`. Raises `ConfigError`."""
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=None,  # the budget bounds the wait for a connection too
                socket_timeout=None,
                socket_connect_timeout=None,
                driver_info=None,  # would be told to the server, one round trip a connection
                # Off, because with them a connection that has unread data counts as ready.
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
                # A server that was restarted is found by one more try on a new connection.
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
            # Nothing is opened yet, but every option in the query is read.
            pool.connection_class(**pool.connection_kwargs)
        except (ValueError, TypeError) as bad:
            raise ConfigError(f"cache.url cannot be used: {str(bad).split('() ')[-1]}") from None
        self.redis: Redis = Redis.from_pool(pool)
        self.state: LinkState = "closed"
        self.fault = ""
        """Why it is bypassed; empty while it works."""
        self._budget_s = budget_s
        self._count = count
        self._on_back = on_back
        self._failures = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Try the server once; one that is away is bypassed from the first request on."""
        if why := await self.probe():
            self._open(why)

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.redis.aclose(close_connection_pool=True)

    async def run(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """The result of `work` on the server, within the budget. Raises `CacheError`."""
        if self.state != "closed":
            raise CacheError("The cache is bypassed: it does not answer.")
        try:
            result = await _within(self._budget_s, work(self.redis))
        except TimeoutError:
            self._fail("late", f"no answer within {self._budget_s * 1000:g} ms")
            raise CacheError("The cache did not answer in time.") from None
        except ResponseError as refused:
            self._failures = 0
            raise CacheRefused(f"The cache refused: {str(refused)[:200]}") from None
        except (RedisError, OSError) as failed:
            self._fail("failed", str(failed)[:200])
            raise CacheError(f"The cache failed: {str(failed)[:200]}") from None
        self._failures = 0
        return result

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Let it run beside the requests; a `CacheError` in it is nobody's concern."""

        async def quietly() -> None:
            try:
                await work
            except CacheError:
                return

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(self, event: CacheEvent, why: str) -> None:
        self._count(event)
        self._failures += 1
        if self.state == "closed" and self._failures >= FAILURES_TO_OPEN:
            self._open(why)

    def _open(self, why: str) -> None:
        log.warning("the cache is bypassed: %s", why)
        self._count("opened")
        self.state, self.fault = "open", why
        self.spawn(self._probe_until_back())

    async def _probe_until_back(self) -> None:
        pause_s = PROBE_FIRST_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PROBE_MOST_S)
            self.state = "half_open"
            if not (why := await self.probe()):
                break
            self.state, self.fault = "open", why
        self.state, self.fault, self._failures = "closed", "", 0
        self._count("closed")
        log.warning("the cache answers again")
        self._on_back()

    async def probe(self) -> str:
        """Why it cannot be used; empty when it can."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self.redis.ping()
            await _within(self._budget_s, self.redis.ping())
        except TimeoutError:
            return "it does not answer in time"
        except (RedisError, OSError) as failed:
            return str(failed)[:200] or type(failed).__name__
        return ""


async def _within(budget_s: float, work: Awaitable[T]) -> T:
    """Raises `TimeoutError`. Time in which the event loop did not turn is not the server's: of each
    slice no more is counted than it was meant to last, so a busy gateway does not bypass a server
    whose answers it has had no time to read."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    slice_s = budget_s / SLICES
    spent_s = 0.0
    try:
        while spent_s < budget_s and not task.done():
            begun = loop.time()
            await asyncio.wait({task}, timeout=slice_s)
            spent_s += min(loop.time() - begun, slice_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not task.done():
        task.cancel()
        raise TimeoutError
    return task.result()
