"""From labels to a confidence and a kept promise, through the real API and the real log."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from app.learning import Learning
from app.store.database import database_url, open_engine
from app.voting.confidence import MIN_LABELS
from tests.fakes.upstream import FakeUpstream, scripted
from tests.running import RunningGateway

PROMISE = {"name": "sums", "max_error": 0.05}
AT_ONCE = 4


async def ask(client: httpx.AsyncClient, number: int, **verify: Any) -> dict[str, Any]:
    prompt = f"Tom has {number} apples and gives some away. How many are left? Give a number."
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "verify": {"mode": "always", **verify},
    }
    reply = await client.post("/v1/chat/completions", json=body)
    told: dict[str, Any] = reply.json()
    return told


async def ask_and_label(client: httpx.AsyncClient, places: asyncio.Semaphore, number: int) -> None:
    async with places:
        trace_id = (await ask(client, number))["id"]
        path = f"/v1/traces/{trace_id}/feedback"
        (await client.post(path, json={"label": "right"})).raise_for_status()


async def learn_in_another_process(running: RunningGateway) -> None:
    """As a second gateway on the same database would, a while later."""
    engine = open_engine(database_url(running.settings))
    later = Learning(
        engine, running.settings.routing, deadline_ms=0, clock=lambda: time.time() + 3600
    )
    await later.turn()
    await engine.dispose()


async def until_calibrated(client: httpx.AsyncClient) -> dict[str, Any]:
    for number in range(10_000, 10_100):
        told = await ask(client, number)
        if told["verification"]["confidence"] is not None:
            return told
        await asyncio.sleep(0.2)
    raise AssertionError("no confidence came")


async def test_labels_give_a_route_its_confidence_and_let_it_keep_its_promise(gateway):
    async with FakeUpstream(scripted("The answer is 12.")) as fake:
        running = gateway(fake.url, routes=[PROMISE], routing={"learn_every_s": 0.2})
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            cold = await ask(client, 1)
            refused = await ask(client, 2, on_unverified="error")
            places = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(
                *(ask_and_label(client, places, 100 + i) for i in range(MIN_LABELS))
            )
            await learn_in_another_process(running)
            warm = await until_calibrated(client)
            trace = (await client.get(f"/v1/traces/{warm['id']}")).json()["group"]
            page = (await client.get("/reliability")).text

    told = cold["verification"]
    assert (told["status"], told["abstained"]) == ("unverified", True)
    assert (told["confidence"], told["threshold"]) == (None, None)
    assert refused["error"]["code"] == "verification_failed"
    told = warm["verification"]
    assert (told["status"], told["abstained"]) == ("agreed", False)
    assert 0.95 < told["threshold"] <= told["confidence"] < 1
    assert trace["decision"]["confidence"] == told["confidence"]
    assert "none of those that had one is labelled yet" in page
