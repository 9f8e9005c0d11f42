"""A gateway learns from what it answered, and answers by what it has learned."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from app.routing.gate import MIN_LABELS
from app.store import schema
from app.store.database import open_engine
from tests.fakes.upstream import FakeUpstream, scripted
from tests.labelled_groups import POLICY, planted_groups, put, unchecked, word_on
from tests.routing.planted import easy_prompt, hard_prompt


async def until(holds: Callable[[], bool], within_s: float = 30) -> bool:
    for _ in range(int(within_s / 0.05)):
        if holds():
            return True
        await asyncio.sleep(0.05)
    return False


async def asked(client: httpx.AsyncClient, prompt: str) -> dict[str, Any]:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "verify": {"include": ["trace"]},
    }
    reply = (await client.post("/v1/chat/completions", json=body)).json()
    return reply["verification"]


def engines(url: str) -> dict[str, Any]:
    return {"main": {"base_url": url, "model": POLICY}}


async def test_what_voting_does_not_gain_is_asked_once(gateway, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    url = f"sqlite+aiosqlite:///{data / 'verivote.db'}"
    await schema.upgrade(url)
    engine = open_engine(url)
    kept = [unchecked(group) for group in planted_groups(MIN_LABELS + 60)]
    await put(engine, *kept, words=[word_on(group, "right") for group in kept])
    await engine.dispose()
    draw = random.Random(5)

    async with FakeUpstream(scripted("12")) as fake:
        running = gateway(fake.url, engines=engines(fake.url), routing={"learn_every_s": 0.2})
        learning = running.application.state.rim.learning
        assert await until(lambda: learning.difficulty_for("default") is not None)
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            easy = [await asked(client, easy_prompt(draw)) for _ in range(16)]
            hard = [await asked(client, hard_prompt(draw)) for _ in range(4)]
            told = (await client.get(f"/v1/traces/{easy[0]['trace_id']}")).json()

    # Half of the traffic is easy and a third of it is sent to one sample; one in twenty is drawn
    # deep whatever the score says.
    once = [v for v in easy if v["samples"] == 1]
    assert len(once) >= 4
    assert {v["route"] for v in once} == {"easy"}
    assert {v["samples"] for v in hard} <= set(range(3, 9))
    assert {v["route"] for v in hard} == {"hard"}
    assert {"feature": "router", "value": "learned", "contribution": 0.0} in _reasons(told)


async def test_what_was_answered_is_learned(gateway) -> None:
    async with FakeUpstream(scripted("It is 42.")) as fake:
        running = gateway(
            fake.url,
            engines=engines(fake.url),
            routing={"learn_every_s": 0.2},
            defaults={"deadline_ms": 300},
        )
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            replies = [await asked(client, f"What is {n} * {42 // n}?") for n in (6, 7, 2)]
            await client.get("/v1/traces")
        learning = running.application.state.rim.learning
        model = learning.difficulty_for
        learned = await until(lambda: (known := model("default")) is not None and known.labels == 3)

    assert [reply["status"] for reply in replies] == ["verified"] * 3
    assert learned
    assert (model("default").standing, model("default").policy) == ("shadow", POLICY)


def _reasons(told: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def look(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(part.get("reasons"), list):
                found.extend(part["reasons"])
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(told)
    return found
