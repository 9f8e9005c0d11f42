"""What operators are told of a model server that the gateway runs, and everybody else is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.vllm import FakeVLLM, wait_until


@pytest.mark.parametrize("keys", ["off", "required"])
def test_what_a_server_died_of_is_told_only_on_this_machine(
    gateway: Any, tmp_path: Path, keys: str
) -> None:
    """With keys anybody may be at the other end, and `/readyz` asks for none."""
    fake = FakeVLLM(tmp_path)
    fake.order("crash")
    own = {"kind": "vllm", "model": fake.model, "python": fake.python}
    running = gateway(None, engines={"main": own}, server={"keys": keys})
    assert wait_until(lambda: len(fake.launches) > 1)
    said = httpx.get(f"{running.url}/readyz")
    server = said.json()["checks"]["servers"]["main"]

    assert said.status_code == 503
    assert (server["state"], server["restarts"]) == ("starting", 1)
    if keys == "off":
        assert server["why"].endswith("ValueError: no memory for the cache of the model")
    else:
        assert "why" not in server


def test_an_upstream_of_others_is_not_among_them(gateway: Any) -> None:
    said = httpx.get(f"{gateway('http://127.0.0.1:9/v1').url}/readyz").json()

    assert (said["status"], said["checks"]["servers"]) == ("unavailable", {})
