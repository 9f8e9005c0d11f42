"""What every room's tests may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.parts import require
from tests.postgres import Server, find_programs, running_server
from tests.redis_server import RedisServer, find_program, running_redis
from tests.running import RunningGateway, running_gateway, settings_for

# How long an example takes is the machine's doing: a test that fails on a busy one says nothing.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """`gateway(upstream, **sections)` starts one; upstream None is the small real model."""
    with ExitStack() as stack:

        def start(upstream: str | None, **sections: Mapping[str, Any]) -> RunningGateway:
            settings = settings_for(tmp_path / "data", upstream, **sections)
            return stack.enter_context(running_gateway(settings))

        yield start


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real Postgres on a free port, one for the whole session."""
    require(find_programs(), "no Postgres programs (initdb, pg_ctl) on this machine")
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis on a free port, one for the whole session; for tests that leave it as it is."""
    require(find_program(), "no redis-server on this machine")
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for a test that stops, pauses or fills it."""
    require(find_program(), "no redis-server on this machine")
    with running_redis(tmp_path) as server:
        yield server
