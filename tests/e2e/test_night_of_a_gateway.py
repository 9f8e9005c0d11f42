"""A whole night inside a gateway: from its own log to a policy that its clients get."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.replica import Replica
from tests.fakes.upstream import FakeUpstream, Request, Steps, scripted
from tests.retrain.nights import fake_trainer

VERIFY = {"mode": "always", "cache": "off"}
FILLER = ("Let us see", "Step by step", "Carefully now", "A product it is", "Easy enough")


def multiplies(request: Request) -> Steps:
    """The base model is right with one sample of four, a trained one with every sample."""
    asked = request.body
    said = asked["messages"][-1]["content"]
    a, b = map(int, re.findall(r"\d+", said)[:2])
    right = asked["model"] != "smol"
    texts = [
        f"{FILLER[(a + b + i) % len(FILLER)]} for {a} and {b} it is {a * b + (0 if right else i)}"
        for i in range(4)
    ]
    return scripted(*texts, extras=True)(request)


def held_out(folder: Path) -> Path:
    rows = [{"prompt": f"What is {a} * {b}?"} for a in range(21, 28) for b in range(31, 37)]
    path = folder / "held_out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


async def ask(client: httpx.AsyncClient, prompt: str, n: int = 1) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "auto", "messages": messages, "n": n, "verify": VERIFY}
    reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()["verification"]
    return told


async def test_what_clients_asked_by_day_serves_them_by_night(gateway: Any, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    retrain = {
        "base": str(tmp_path / "base"),
        "python": fake_trainer(tmp_path),
        "min_groups": 16,
        "canary": "off",
        "gate": {"file": str(held_out(tmp_path)), "samples": 4, "min_prompts": 40},
    }
    async with FakeUpstream(multiplies) as fake:
        Replica(fake)
        running = await asyncio.to_thread(
            lambda: gateway(fake.url, retrain=retrain, defaults={"temperature": 1.0})
        )
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            by_day = [await ask(client, f"What is {n} * 12?", 4) for n in range(2, 26)]
            await client.get("/v1/traces")  # what was answered is in the database now
            asked_before = len(fake.drawn)
            night = (await client.post("/v1/admin/retrain")).json()
            while night["status"] == "running":
                await asyncio.sleep(0.1)
                night = (await client.get(f"/v1/admin/retrain/{night['id']}")).json()
            asked_after = len(fake.drawn)
            for _ in range(200):
                by_night = await ask(client, "What is 17 * 19?")
                if by_night["policy"] == "policy-1":
                    break
                await asyncio.sleep(0.05)
            traces = (await client.get("/v1/traces?limit=200")).json()["data"]
            page = await client.get(f"/nights/{night['id']}")

    assert {told["policy"] for told in by_day} == {"smol"}
    assert night["status"] == "promoted", night["reason"]
    report = night["report"]
    assert report["selection"]["groups"] >= 16
    assert report["gate"]["metrics"]["pass_at_1"]["incumbent"] == 0.25
    assert report["gate"]["metrics"]["pass_at_1"]["candidate"] == 1.0
    assert (by_night["policy"], by_night["status"]) == ("policy-1", "verified")
    # Held-out prompts were drawn for both, and are no part of the log.
    assert asked_after - asked_before >= 2 * 42 * 2
    assert all("* 3" not in trace["prompt"] for trace in traces)
    assert page.status_code == 200
