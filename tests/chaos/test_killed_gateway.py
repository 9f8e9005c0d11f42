"""A gateway process that is killed while others wait for what it draws."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.cli.command import serving
from tests.fakes.arithmetic import multiplying
from tests.fakes.upstream import FakeUpstream
from tests.redis_server import RedisServer

BODY = {"model": "auto", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}
WAITING = 10


async def test_one_of_those_who_wait_takes_over(tmp_path: Path, own_redis: RedisServer) -> None:
    async with FakeUpstream(multiplying(takes_s=1.0)) as fake, AsyncExitStack() as running:
        variables = {"VERIVOTE__CACHE__URL": own_redis.url, "CACHE_KEY": "known to both gateways"}
        variables["VERIVOTE__CACHE__HMAC_KEY"] = "env:CACHE_KEY"
        processes, clients = [], []
        for name in ("one", "other"):
            data = ("--data", str(tmp_path / name), "--port", "0")
            process, line = await asyncio.to_thread(
                running.enter_context, serving("--upstream", fake.url, *data, **variables)
            )
            processes.append(process)
            url = line.split(" serves ")[1].split("/v1")[0]
            client = httpx.AsyncClient(base_url=url, timeout=60)
            clients.append(await running.enter_async_context(client))
        lost = asyncio.create_task(clients[0].post("/v1/chat/completions", json=BODY))
        assert await fake.until(lambda: len(fake.drawn) == 1, within_s=30)
        waiting = [
            asyncio.create_task(clients[1].post("/v1/chat/completions", json=BODY))
            for _ in range(WAITING)
        ]
        await asyncio.sleep(0.3)
        processes[0].kill()
        replies = [reply.json() for reply in await asyncio.gather(*waiting)]
        await asyncio.gather(lost, return_exceptions=True)

    assert {said(reply) for reply in replies} == {"It is 42."}
    assert len(fake.drawn) == 2
    assert sum(reply["verification"]["cache"]["hit"] for reply in replies) == WAITING - 1


def said(reply: dict[str, Any]) -> str:
    assert "choices" in reply, json.dumps(reply)
    text: str = reply["choices"][0]["message"]["content"]
    return text
