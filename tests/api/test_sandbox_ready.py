"""A sandbox that cannot be used: known at start, said by readiness, an error for code alone."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest

from tests.fakes.upstream import FakeUpstream, scripted
from tests.running import RunningGateway

ADD = {"use": "unit_tests", "tests": "assert add(1, 2) == 3"}
SUM = {"use": "number", "reference": "3"}


@pytest.fixture
async def said():
    """An upstream whose answer is a program and a number at once."""
    async with FakeUpstream(scripted("def add(a, b):\n    return a + b\n# Answer: 3")) as fake:
        yield fake


async def test_a_sandbox_that_is_away_degrades_the_gateway_and_fails_code_only(
    gateway: Callable[..., RunningGateway], said: FakeUpstream, caplog
) -> None:
    with caplog.at_level(logging.ERROR):
        started = gateway(said.url, verifiers={"sandbox": "docker:verivote-of-nobody"})
    async with httpx.AsyncClient(base_url=started.url, timeout=60) as client:
        ready = await client.get("/readyz")
        found = {}
        for verifier in (ADD, SUM):
            body = {
                "model": "auto",
                "messages": [{"role": "user", "content": "Write add, and say 1 + 2 in words."}],
                "verify": {"verifiers": [verifier], "n": 1, "cache": "off"},
            }
            reply = await client.post("/v1/chat/completions", json=body)
            found[verifier["use"]] = reply.json()["verification"]["verifiers"][0]["status"]

    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["checks"]["sandbox"] is False
    assert found == {"unit_tests": "error", "number": "pass"}
    assert any("the sandbox is unavailable" in record.message for record in caplog.records)
