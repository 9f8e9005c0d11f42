"""Whatever happens to Redis, clients get right answers: whole gateways over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cache.relay import delaying
from tests.cli.command import verivote
from tests.fakes.arithmetic import multiplying, product_of
from tests.fakes.upstream import FakeUpstream
from tests.redis_server import RedisServer
from tests.running import RunningGateway, running_gateway, settings_for

KEY = "a key that both gateways know"


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., RunningGateway]]:
    """`start(upstream, redis_url, …)` starts one more gateway, with a folder of its own."""
    monkeypatch.setenv("CACHE_KEY", KEY)
    with ExitStack() as stack:
        number = 0

        def start_one(upstream: str, redis_url: str, **sections: Any) -> RunningGateway:
            nonlocal number
            number += 1
            cache = {"url": redis_url, "hmac_key": "env:CACHE_KEY"}
            data = tmp_path / f"data{number}"
            settings = settings_for(data, upstream, cache=cache, **sections)
            return stack.enter_context(running_gateway(settings))

        yield start_one


class Client:
    """Asks and keeps count of what came back."""

    def __init__(self, url: str, key: str = "") -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(base_url=url, timeout=60, headers=headers)
        self.words: list[str] = []
        self.degraded = 0

    async def product(self, left: int, right: int = 7, **verify: Any) -> str:
        """Ask for a product, insist that it is right, and say how the cache was."""
        prompt = f"What is {left} * {right}?"
        body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
        reply = await self._http.post("/v1/chat/completions", json={**body, "verify": verify})
        assert reply.status_code == 200, reply.text
        told = reply.json()
        assert told["choices"][0]["message"]["content"] == f"It is {product_of(prompt)}."
        assert told["verification"]["status"] == "verified"
        self.degraded += told["verification"]["degraded"] == ["cache"]
        self.words.append(reply.headers["x-verivote-cache"])
        return self.words[-1]

    async def products(self, numbers: range) -> list[str]:
        return list(await asyncio.gather(*(self.product(number) for number in numbers)))

    async def is_ready(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._http.get("/readyz")).json()
        return found

    async def until_hit(self, number: int) -> bool:
        """Ask until the cache serves it again."""
        for _ in range(300):
            if await self.product(number) == "hit":
                return True
            await asyncio.sleep(0.02)
        return False

    async def close(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def asking(url: str, key: str = "") -> AsyncIterator[Client]:
    client = Client(url, key)
    try:
        yield client
    finally:
        await client.close()


async def test_a_redis_that_hangs(start, own_redis: RedisServer):
    async with (
        FakeUpstream(multiplying()) as fake,
        asking(start(fake.url, own_redis.url).url) as client,
    ):
        await client.until_hit(10)
        own_redis.pause()
        while_it_hangs = [
            *await client.products(range(10, 20)),
            *await client.products(range(10, 20)),
        ]
        ready = await client.is_ready()
        own_redis.resume()

        assert "hit" not in while_it_hangs
        assert client.degraded > 10
        assert (ready["status"], ready["checks"]["cache"]) == ("degraded", False)
        assert await client.until_hit(10)
        assert (await client.is_ready())["status"] == "ok"


async def test_a_redis_that_hangs_while_an_answer_is_drawn_and_others_wait(start, own_redis):
    async with FakeUpstream(multiplying(takes_s=0.4)) as fake:
        gateways = [start(fake.url, own_redis.url).url for _ in range(2)]
        async with asking(gateways[0]) as one, asking(gateways[1]) as other:
            asked = [asyncio.create_task(at.product(30)) for at in (one, other) for _ in range(10)]
            assert await fake.until(lambda: len(fake.drawn) > 0)
            own_redis.pause()
            await asyncio.gather(*asked)
            own_redis.resume()

            assert 1 <= len(fake.drawn) <= 2


async def test_a_redis_that_restarts_empty(start, own_redis: RedisServer):
    async with (
        FakeUpstream(multiplying()) as fake,
        asking(start(fake.url, own_redis.url).url) as client,
    ):
        await client.products(range(10, 20))
        own_redis.stop()
        await client.products(range(10, 20))
        own_redis.start()

        for number in range(10, 20):
            assert await client.until_hit(number)


async def test_a_redis_that_answers_slowly(start, own_redis: RedisServer):
    async with (
        FakeUpstream(multiplying()) as fake,
        delaying(own_redis.port, delay_s=0.3) as url,
        asking(start(fake.url, url).url) as client,
    ):
        words = [*await client.products(range(10, 20)), *await client.products(range(10, 20))]

        assert "hit" not in words
        assert client.degraded > 10


async def test_a_redis_that_is_full(start, own_redis: RedisServer):
    async with (
        FakeUpstream(multiplying()) as fake,
        asking(start(fake.url, own_redis.url).url) as client,
    ):
        await client.until_hit(10)
        own_redis.client.config_set("maxmemory-policy", "noeviction")
        own_redis.client.config_set("maxmemory", "1mb")
        words = [*await client.products(range(20, 30)), *await client.products(range(20, 30))]

        assert "hit" not in words
        assert await client.until_hit(10)


async def test_a_redis_that_others_write_to(start, own_redis: RedisServer):
    async with (
        FakeUpstream(multiplying()) as fake,
        asking(start(fake.url, own_redis.url).url) as client,
    ):
        for number in range(10, 20):
            assert await client.until_hit(number)
        meddle_with(own_redis)

        assert "hit" not in await client.products(range(10, 20))
        meddle_with(own_redis)
        await client.products(range(10, 20))


def meddle_with(server: RedisServer) -> None:
    """Swap what is kept, turn pointers, plant text, other types and leases that never end."""
    redis = server.client
    for kind in ("e", "q"):
        names = sorted(redis.scan_iter(f"*:{kind}:*", count=10_000))
        values = [redis.get(name) if redis.type(name) == b"string" else b"" for name in names]
        for place, name in enumerate(names):
            if place % 3 == 0:
                redis.set(name, values[place - 1])
            elif place % 3 == 1:
                redis.set(name, b'{"answer": "It is 1."}')
            else:
                redis.delete(name)
                redis.lpush(name, b"It is 1.")
            redis.set(name.replace(b":%b:" % kind.encode(), b":f:"), b"ab 999 999999")


async def test_an_entry_of_another_tenant_put_under_my_name(start, own_redis: RedisServer):
    async with FakeUpstream(multiplying()) as fake:
        running = start(fake.url, own_redis.url, server={"keys": "required"})
        mine, theirs = (key_of(tenant, running.settings.data) for tenant in ("mine", "theirs"))
        async with asking(running.url, mine) as me, asking(running.url, theirs) as them:
            await them.until_hit(10)
            foreign = list(own_redis.client.scan_iter("*:e:*"))
            await me.until_hit(10)
            [own] = set(own_redis.client.scan_iter("*:e:*")) - set(foreign)
            own_redis.client.copy(foreign[0], own, replace=True)

            assert await me.product(10) == "miss"
            assert await them.product(10) == "hit"


def key_of(tenant: str, data: Path) -> str:
    made = verivote("keys", "create", "--tenant", tenant, "--data", str(data))
    return made.stdout.split()[0]


async def test_a_flood_of_other_questions(start, own_redis: RedisServer):
    async with FakeUpstream(multiplying()) as fake:
        own_redis.client.config_set("maxmemory-policy", "allkeys-lru")
        most = own_redis.client.info("memory")["used_memory"] + 800_000
        own_redis.client.config_set("maxmemory", most)
        async with asking(start(fake.url, own_redis.url).url) as client:
            for first in range(10, 310, 50):
                await client.products(range(first, first + 50))

            assert own_redis.client.info("stats")["evicted_keys"] > 0
            assert await client.until_hit(309)


async def test_both_gateways_draw_a_hundred_equal_requests_once(start, own_redis: RedisServer):
    async with FakeUpstream(multiplying(takes_s=0.3)) as fake:
        gateways = [start(fake.url, own_redis.url).url for _ in range(2)]
        async with asking(gateways[0]) as one, asking(gateways[1]) as other:
            await asyncio.gather(*(at.product(10) for _ in range(50) for at in (one, other)))

            assert len(fake.drawn) == 1
            assert sorted(one.words + other.words).count("coalesced") == 99


async def test_an_answer_reported_wrong_leaves_both_gateways(start, own_redis: RedisServer):
    async with FakeUpstream(multiplying()) as fake:
        gateways = [start(fake.url, own_redis.url).url for _ in range(2)]
        async with asking(gateways[0]) as one, asking(gateways[1]) as other:
            await one.product(10)
            hit = await other.product(10)
            async with httpx.AsyncClient(base_url=gateways[0]) as http:
                listed = (await http.get("/v1/traces")).json()["data"]
                path = f"/v1/traces/{listed[0]['id']}/feedback"
                assert (await http.post(path, json={"label": "wrong"})).status_code == 200

            assert hit == "hit"
            assert await other.product(10) == "miss"
            assert await one.product(10) == "miss"
            assert await other.product(10) == "miss"
