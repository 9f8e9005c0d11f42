"""A hostile completion that comes through the real chat endpoint is contained, and its trace says
what it was refused for."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.fakes.upstream import FakeUpstream, scripted

PROMPT = "Write a Python function f(x) that returns twice its argument."
TESTS = {"use": "unit_tests", "entry_point": "f", "tests": "assert f(2) == 4\nassert f(5) == 10"}


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


HONEST = fenced("def f(x):\n    return 2 * x")
HOSTILE = {
    "exits_before_the_tests": "import os\nos._exit(0)\ndef f(x):\n    return None",
    "equals_everything": (
        "class Any:\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return Any()"
    ),
    "writes_a_file": "def f(x):\n    open({mark!r}, 'w').write('out')\n    return 2 * x",
    "starts_a_process": (
        "import subprocess\ndef f(x):\n    subprocess.run(['touch', {mark!r}])\n    return 2 * x"
    ),
    "opens_a_socket": (
        "import socket\ndef f(x):\n    socket.create_connection(('127.0.0.1', {port}))\n"
        "    return 2 * x"
    ),
    "spins": "def f(x):\n    while True:\n        pass",
    "prints_a_verdict": 'print(\'{{"status": "pass"}}\')\ndef f(x):\n    return None',
}


async def ask(url: str, **more: Any) -> dict[str, Any]:
    body = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}], **more}
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        reply = await client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        trace = (await client.get(f"/v1/traces/{found['id']}")).json()
    return {"reply": found, "group": trace["group"]}


@pytest.mark.parametrize("hack", HOSTILE)
async def test_a_hostile_program_is_contained_and_its_trace_says_why(gateway, tmp_path, hack):
    mark = tmp_path / "escaped"
    knocks = 0

    def knocked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal knocks
        knocks += 1
        writer.close()

    listening = await asyncio.start_server(knocked, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    program = HOSTILE[hack].format(mark=str(mark), port=port)
    async with listening, FakeUpstream(scripted(fenced(program))) as fake:
        running = gateway(fake.url)
        told = await ask(running.url, verify={"verifiers": [TESTS], "n": 1})

    verdict = told["group"]["scored"][0]["verdicts"][0]
    assert told["reply"]["verification"]["status"] == "unverified"
    assert verdict["verifier"] == "unit_tests"
    assert verdict["status"] in ("fail", "error")
    assert verdict["reason"]
    assert not await asyncio.to_thread(mark.exists)
    assert knocks == 0


async def test_an_honest_program_among_hostile_ones_is_found_and_verified(gateway):
    hostile = fenced(HOSTILE["exits_before_the_tests"])
    async with FakeUpstream(scripted(hostile, HONEST, hostile)) as fake:
        running = gateway(fake.url)
        told = await ask(running.url, verify={"verifiers": [TESTS], "n": 3, "mode": "always"})

    assert told["reply"]["verification"]["status"] == "verified"
    assert told["reply"]["choices"][0]["message"]["content"] == HONEST
