"""A verifier of the operator's own, named in the settings, decides requests of the gateway."""

from __future__ import annotations

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
