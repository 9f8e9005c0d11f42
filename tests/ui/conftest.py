"""The pages over a real store on a real port, and a real browser to look at them."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.cache.base import CacheEntry
from app.cache.memory import MemoryCache
from app.group import Group
from app.settings import Settings
from app.store.sql import SqlStore
from app.ui.pages import router
from app.voting.confidence import Calibration
from tests.ui.browser import Browser, find_chromium
from tests.ui.sample_groups import NOON, calibrated, every_group, split_vote

SECRET = b"a secret of the server"
CACHE_KEY = "9f2c" * 16
T = TypeVar("T")


@dataclass(frozen=True)
class KeyRow:
    id: str
    tenant: str
    scopes: tuple[str, ...]


class Keys:
    """Three keys: one that may read and label, one that may only ask, one of another tenant."""

    rows: ClassVar = {
        "vv-reader": KeyRow("key-1", "local", ("traces:read", "traces:write")),
        "vv-asker": KeyRow("key-2", "local", ("infer",)),
        "vv-other": KeyRow("key-3", "other", ("traces:read", "traces:write")),
    }

    async def verify(self, plaintext: str) -> KeyRow | None:
        return self.rows.get(plaintext)


@dataclass(frozen=True)
class Site:
    """The pages, being served."""

    url: str
    app: FastAPI
    loop: asyncio.AbstractEventLoop

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer of the site's own store or cache, in its own thread."""
        return asyncio.run_coroutine_threadsafe(question, self.loop).result(10)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Origin": self.url})


@contextmanager
def serve(
    data: Path,
    groups: tuple[Group, ...],
    settings: Settings,
    calibrations: tuple[Calibration, ...] = (),
) -> Iterator[Site]:
    loops: list[asyncio.AbstractEventLoop] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        clock = lambda: NOON + 60.0  # noqa: E731
        store = SqlStore(f"sqlite+aiosqlite:///{data / 'v.db'}", data / "spool.db", clock=clock)
        cache = MemoryCache(ttl_s=3_600, max_bytes=2**20, clock=clock)
        await store.start()
        for group in groups:
            await store.append(group)
        await cache.put(CacheEntry(key=CACHE_KEY, group=split_vote(), created_at=NOON))
        app.state.rim = SimpleNamespace(
            store=store,
            cache=cache,
            clock=clock,
            learning=SimpleNamespace(calibrations=lambda: calibrations),
        )
        loops.append(asyncio.get_running_loop())
        yield
        await store.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.include_router(router)
    app.state.settings, app.state.secret, app.state.keys = settings, SECRET, Keys()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, args=([listening],), name="pages")
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the pages did not start"
                time.sleep(0.01)
            yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", app, loops[0])
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Every sample group, one calibrated route, keys off. For tests that only read."""
    data = tmp_path_factory.mktemp("site")
    with serve(data, every_group(), Settings(), (calibrated(),)) as served:
        yield served


@pytest.fixture(scope="module")
def locked_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One group of the tenant `local`, keys required. For tests that only read."""
    settings = Settings.model_validate({"server": {"keys": "required"}})
    with serve(tmp_path_factory.mktemp("locked"), (split_vote(),), settings) as served:
        yield served


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """One group, keys off, for a test that writes."""
    with serve(tmp_path, (split_vote(),), Settings()) as served:
        yield served


@pytest.fixture
def empty_site(tmp_path: Path) -> Iterator[Site]:
    with serve(tmp_path, (), Settings()) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        message = "no Chromium on this machine"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(message)
        pytest.skip(message)
    with Browser(program) as started:
        yield started
