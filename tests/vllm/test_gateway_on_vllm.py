"""The whole gateway in front of a real vLLM, asked over HTTP as a client asks."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from typing import Any

import httpx
import orjson
import pytest

from app.group import Group
from tests.vllm.test_real_vllm import TASKS, metrics, until

pytestmark = pytest.mark.vllm

STORY = {"role": "user", "content": "Tell a very long story about a lighthouse."}


async def ask(client: httpx.AsyncClient, prompt: str, **more: Any) -> dict[str, Any]:
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], **more}
    reply = await client.post("/v1/chat/completions", json=body, timeout=120)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def stored(client: httpx.AsyncClient, trace_id: str) -> Group:
    """The group as the trace API gives it."""
    found = (await client.get(f"/v1/traces/{trace_id}")).json()
    return Group.from_json(orjson.dumps(found["group"]))


async def warm_up(client: httpx.AsyncClient) -> None:
    """A cold vLLM answers its first requests too late for the probe, which asks again in 30 s."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        reply = await ask(client, "What is 1 + 1?", max_tokens=8, verify={"n": 8, "cache": "off"})
        group = await stored(client, reply["id"])
        if any(scored.sample.trainable for scored in group.scored):
            return
        await asyncio.sleep(5)


async def test_twenty_tasks_are_drawn_by_one_call_a_round_and_stored_ready_for_training(
    vllm_url, gateway
):
    running = gateway(vllm_url)
    async with httpx.AsyncClient(base_url=running.url) as client:
        await warm_up(client)
        groups = []
        for prompt in TASKS:
            reply = await ask(client, prompt, max_tokens=24, verify={"n": 8, "cache": "off"})
            groups.append(await stored(client, reply["id"]))

    assert len(groups) == 20
    for group in groups:
        asked = [call.n for call in group.calls]
        assert len(asked) == group.rounds, asked
        assert asked[0] == 3
        whole = [s.sample for s in group.scored if s.sample.finish_reason == "stop"]
        for sample in whole:
            assert sample.trainable, sample.not_trainable
            assert len(sample.token_ids) == len(sample.logprobs) == sample.completion_tokens
            assert all(math.isfinite(mu) and mu <= 0 for mu in sample.logprobs)
        assert len(group.calls[0].prompt_token_ids) == group.calls[0].prompt_tokens > 0
    assert sum(group.decision.status == "verified" for group in groups) >= 5


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_client_that_leaves_stops_the_generation_on_the_servers_side(
    vllm_url, gateway, stream
):
    running = gateway(vllm_url)
    body = {
        "model": "auto",
        "messages": [STORY],
        "max_tokens": 1800,
        "n": 4,
        "stream": stream,
        "verify": {"mode": "off"},
    }
    raw = orjson.dumps(body)
    host, port = running.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    client.sendall(head.encode() + raw)
    began = await until(vllm_url, lambda found: found["running"] == 4)
    client.close()
    stopped = await until(vllm_url, lambda found: found["running"] == 0, within_s=5)
    before = await metrics(vllm_url)
    await asyncio.sleep(1)
    after = await metrics(vllm_url)

    assert began
    assert stopped
    assert after["generated"] == before["generated"]
