"""A verifier of the operator's own, named in the settings, decides requests of the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.errors import ConfigError
from app.main import create_app
from tests.fakes.upstream import FakeUpstream, scripted
from tests.running import settings_for

SOURCE = "def shouts(answer, reference):\n    return answer == reference.upper()\n"


async def test_a_function_named_in_the_settings_decides(gateway, tmp_path):
    file = tmp_path / "own_checks.py"
    file.write_text(SOURCE)
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Shout hello."}],
        "verify": {"mode": "always", "verifiers": [{"use": "shouts", "reference": "hello"}]},
    }
    async with FakeUpstream(scripted("hello", "Hello", "HELLO")) as fake:
        running = gateway(fake.url, verifiers={"plugins": [f"{file}:shouts"]})
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            reply = (await client.post("/v1/chat/completions", json=body)).json()

    assert reply["verification"]["status"] == "verified"
    assert reply["choices"][0]["message"]["content"] == "HELLO"


def test_a_plug_in_that_cannot_be_loaded_is_refused_by_its_key(tmp_path):
    settings = settings_for(
        tmp_path, "http://127.0.0.1:9/v1", verifiers={"plugins": ["no_such_module"]}
    )

    with pytest.raises(ConfigError, match=r"verifiers\.plugins\[0\].*no_such_module"):
        create_app(settings)


TIRING = '''
from pathlib import Path

from verifiers.base import Candidate, Finding, Prepared, Status

class Tiring:
    """Catches its known-bad answer once, then passes everything."""

    name, version, role, isolation = "tiring", "1", "outcome", "worker"
    options = {}

    def detect(self, check):
        return None

    def prepare(self, options, check):
        return Prepared(payload=None, decisive=True)

    def canaries(self, prepared):
        return [Candidate(text="bad")]

    def verify(self, prepared, candidate, answer):
        if candidate.text != "bad":
            return Finding(status=Status.PASS)
        # In a file: on a busy machine the next one may be looked at by another worker.
        seen = Path(__file__).with_suffix(".seen")
        tired = seen.exists()
        seen.touch()
        return Finding(status=Status.PASS if tired else Status.FAIL)
'''


async def test_a_verifier_that_passes_a_known_bad_answer_leaves_no_trust_in_what_it_passed(
    gateway, tmp_path
):
    file = tmp_path / "tiring.py"
    file.write_text(TIRING)
    wanted = {"plugins": [f"{file}:Tiring"], "canary_rate": 1.0, "workers": 1}
    async with FakeUpstream(scripted("good")) as fake:
        running = gateway(fake.url, verifiers=wanted)
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:

            async def ask(prompt: str) -> dict[str, Any]:
                verify = {"mode": "always", "n": 1, "verifiers": [{"use": "tiring"}]}
                messages = [{"role": "user", "content": prompt}]
                body = {"model": "auto", "messages": messages, "verify": verify}
                found: dict[str, Any] = (
                    await client.post("/v1/chat/completions", json=body)
                ).json()["verification"]
                return found

            before = await ask("first")
            cached = await ask("first")
            caught_out = await ask("second")
            trace_url = f"/v1/traces/{before['trace_id']}"
            for _ in range(100):
                labels = (await client.get(trace_url)).json()["labels"]
                if labels:
                    break
                await asyncio.sleep(0.05)
            after = await ask("first")

    assert (before["status"], cached["cache"]["hit"]) == ("verified", True)
    assert caught_out["status"] == "unverified"
    assert [label["author"] for label in labels] == ["canary"]
    assert "in doubt" in labels[0]["note"]
    assert (after["status"], after["cache"]["hit"]) == ("unverified", False)
