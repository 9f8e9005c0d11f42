"""Who answers, as clients see it: after a promotion, a rollback, a loss of files, a kill -9."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.retrain.promotion import promote, roll_back
from app.store import schema
from app.store.database import database_url, open_engine
from app.store.nights import Nights
from app.store.policies import Policy, PolicyTable
from tests.fakes.replica import Replica
from tests.fakes.upstream import FakeUpstream, Request, Steps, scripted
from tests.running import settings_for

NOW = 1_790_000_000.0


def a_policy(number: int, folder: Path) -> Policy:
    path = folder / f"policy-{number}"
    path.mkdir(parents=True, exist_ok=True)
    return Policy(
        name=path.name,
        engine="main",
        parent=f"policy-{number - 1}" if number > 1 else None,
        base_model="smol",
        path=str(path),
        sha256=f"{number:064x}",
        created_at=NOW + number,
    )


async def with_table(settings: Any, work: Callable[[PolicyTable, Nights], Awaitable[Any]]) -> Any:
    engine = open_engine(database_url(settings))
    try:
        return await work(PolicyTable(engine), Nights(engine))
    finally:
        await engine.dispose()


async def prepare(settings: Any, folder: Path, active: str = "") -> None:
    await schema.upgrade(database_url(settings))

    async def fill(table: PolicyTable, nights: Nights) -> None:
        for number in (1, 2):
            await table.add(a_policy(number, folder))
        if active:
            await table.activate(active, now=NOW)

    await with_table(settings, fill)


async def ask(
    client: httpx.AsyncClient, prompt: str = "What is 6 * 7?", *, cache: str = "off"
) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "auto", "messages": messages, "verify": {"cache": cache}}
    reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()["verification"]
    return told


async def until_served_by(client: httpx.AsyncClient, policy: str) -> dict[str, Any]:
    for _ in range(600):
        told = await ask(client)
        if told["policy"] == policy:
            return told
        await asyncio.sleep(0.05)
    raise AssertionError(f"{policy} never answered; the last one was {told['policy']}")


def by_name(request: Request) -> Steps:
    """Whoever is asked gives the right answer in its own words."""
    return scripted(f"{request.body['model']} says 42")(request)


async def test_a_promotion_and_a_rollback_are_followed_and_the_cache_with_them(
    gateway: Any, tmp_path: Path
) -> None:
    async with FakeUpstream(by_name) as fake:
        replica = Replica(fake)
        running = gateway(fake.url)
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            base = await ask(client)
            await prepare(running.settings, tmp_path)
            for name in ("policy-1", "policy-2"):
                await with_table(running.settings, lambda t, n, w=name: promote(t, n, w, now=NOW))
                await until_served_by(client, name)
            first = await ask(client, cache="on")
            hit = await ask(client, cache="on")
            await with_table(running.settings, lambda t, n: roll_back(t, n, "main", now=NOW))
            await until_served_by(client, "policy-1")
            back = await ask(client, cache="on")

    assert base["policy"] == "smol"
    assert [(told["policy"], told["cache"]["hit"]) for told in (first, hit, back)] == [
        ("policy-2", False),
        ("policy-2", True),
        # What policy-2 said is verified and newer, and is not served.
        ("policy-1", False),
    ]
    assert sorted(set(replica.changes)) == ["policy-1", "policy-2"]


async def test_a_canary_answers_its_share(gateway: Any, tmp_path: Path) -> None:
    async with FakeUpstream(by_name) as fake:
        Replica(fake)
        running = gateway(fake.url, retrain={"canary": {"share": 0.5}})
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            await prepare(running.settings, tmp_path)
            await with_table(running.settings, lambda t, n: t.start_canary("policy-1", now=NOW))
            await until_served_by(client, "policy-1")
            served = [(await ask(client, f"What is 6 * {n}?"))["policy"] for n in range(60)]

    assert set(served) == {"smol", "policy-1"}
    assert 10 < Counter(served)["policy-1"] < 50


async def test_files_that_are_gone_at_the_start_give_way_to_the_policy_before(
    gateway: Any, tmp_path: Path
) -> None:
    async with FakeUpstream(by_name) as fake:
        Replica(fake)
        settings = settings_for(tmp_path / "data", fake.url)
        await prepare(settings, tmp_path, "policy-1")
        await with_table(settings, lambda t, n: t.activate("policy-2", now=NOW))
        await asyncio.to_thread((tmp_path / "policy-2").rmdir)
        # In a thread: the fake server answers from this one.
        running = await asyncio.to_thread(gateway, fake.url)
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            first = await ask(client)
            await asyncio.to_thread((tmp_path / "policy-2").mkdir)
            mended = await until_served_by(client, "policy-2")

    assert (first["policy"], first["degraded"]) == ("policy-1", ["policy"])
    assert mended["degraded"] == []


async def test_a_gateway_starts_with_the_active_policy_loaded(gateway: Any, tmp_path: Path) -> None:
    async with FakeUpstream(by_name) as fake:
        replica = Replica(fake)
        await prepare(settings_for(tmp_path / "data", fake.url), tmp_path, "policy-1")
        running = await asyncio.to_thread(gateway, fake.url)
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            first = await ask(client)

    assert (first["policy"], first["degraded"]) == ("policy-1", [])
    assert replica.loaded == {"policy-1": str(tmp_path / "policy-1")}


async def test_a_model_that_a_client_names_is_the_one_that_answers(
    gateway: Any, tmp_path: Path
) -> None:
    async with FakeUpstream(by_name) as fake:
        Replica(fake)
        await prepare(settings_for(tmp_path / "data", fake.url), tmp_path, "policy-1")
        running = await asyncio.to_thread(gateway, fake.url)
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            body = {"model": "smol", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}
            reply = await client.post("/v1/chat/completions", json=body)

    assert reply.json()["verification"]["policy"] == "smol"


def promote_for_ever(url: str) -> None:
    async def go() -> None:
        engine = open_engine(url)
        table = PolicyTable(engine)
        while True:
            await table.activate("policy-2", now=time.time())
            await table.rollback("main", now=time.time())

    asyncio.run(go())


@pytest.mark.parametrize("seed", range(5))
async def test_killed_in_the_middle_of_a_promotion_one_policy_serves(
    tmp_path: Path, seed: int
) -> None:
    settings = settings_for(tmp_path / "data", "http://127.0.0.1:9/v1")
    settings.data.mkdir()
    await prepare(settings, tmp_path, "policy-1")
    process = CONTEXT.Process(target=promote_for_ever, args=(database_url(settings),))
    await asyncio.to_thread(process.start)

    async def serving(table: PolicyTable, _: Nights) -> dict[str, str]:
        return {policy.name: policy.status for policy in await table.list()}

    for _ in range(3_000):
        if (await with_table(settings, serving))["policy-2"] != "candidate":
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(random.Random(seed).random() * 0.2)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(process.join)
    found = await with_table(settings, serving)

    assert sorted(found.values()) in (["active", "retired"],)


CONTEXT = multiprocessing.get_context("forkserver")
