"""`verivote cache` as a person runs it, beside a gateway that keeps what it finds in Redis."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cache.make import make_cache
from app.cli.cache import cli
from app.errors import ConfigError
from app.settings import CacheSettings
from app.store.keys import server_secret
from tests.cache.entries import a_negative, a_trace, an_entry
from tests.cli.command import verivote
from tests.postgres import free_port
from tests.redis_server import RedisServer


@pytest.fixture
def filled(tmp_path: Path, redis_server: RedisServer) -> tuple[tuple[str, ...], dict[str, str]]:
    """Three entries of two tenants, one of them a failure; the arguments and variables for them."""
    settings = CacheSettings(url=redis_server.url, prefix=tmp_path.name)

    async def fill() -> None:
        secret = server_secret(tmp_path / "secret")
        cache = make_cache(settings, secret, clock=time.time, budget_s=5)
        now = time.time()
        await cache.put(an_entry(number=1, tenant="ours", at=now))
        await cache.put(a_negative("What is 6 * 8?", number=2, tenant="ours", at=now))
        await cache.put(an_entry(number=3, tenant="theirs", at=now))
        await cache.close()

    asyncio.run(fill())
    variables = {
        "VERIVOTE__CACHE__URL": settings.url,
        "VERIVOTE__CACHE__PREFIX": settings.prefix,
    }
    return ("--data", str(tmp_path)), variables


def test_what_is_kept_is_counted_and_dropped(filled) -> None:
    data, variables = filled
    found = json.loads(verivote("cache", "stats", "--json", *data, **variables).stdout)
    trace = verivote("cache", "purge", "--trace", a_trace(1), *data, **variables)
    tenant = verivote("cache", "purge", "--tenant", "ours", "--json", *data, **variables)
    told = verivote("cache", "stats", *data, **variables)

    assert (found["entries"], found["negatives"], found["complete"]) == (2, 1, True)
    assert trace.stdout == "dropped 1\n"
    assert json.loads(tenant.stdout) == {"dropped": 1}
    assert "verified answers: 1\nknown failures: 0\n" in told.stdout


def test_a_cache_in_memory_is_in_the_gateway(tmp_path: Path) -> None:
    run = CliRunner().invoke
    stats = run(cli, ["stats", "--data", str(tmp_path)])
    purge = run(cli, ["purge", "--all", "--data", str(tmp_path)])

    assert (stats.exit_code, "/cache" in stats.stdout) == (0, True)
    assert isinstance(purge.exception, ConfigError)
    assert "/cache" in purge.exception.message


@pytest.mark.parametrize("given", [(), ("--all", "--tenant", "x"), ("--trace", "x", "--all")])
def test_a_purge_says_of_what(given, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["purge", *given, "--data", str(tmp_path)])

    assert result.exit_code == 2
    assert "one of --tenant, --trace and --all" in result.stderr


def test_a_server_that_is_away_is_one_line(tmp_path: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}"
    away = verivote("cache", "stats", "--data", str(tmp_path), VERIVOTE__CACHE__URL=url)

    assert away.returncode == 3
    assert away.stderr.count("\n") == 1
    assert away.stderr.startswith("verivote: cache.url: redis://127.0.0.1:")
    assert "secret" not in away.stderr
