"""`serve --model`: a gateway and the vLLM that it runs, from start to end, however it ends.

The vLLM is a fake; tests/vllm has a real one.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.command import serving
from tests.fakes.vllm import FakeVLLM, is_alive, wait_until

ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
LIMIT_S = 30.0
OPERATORS = ("/pause", "/sleep", "/server_info", "/collective_rpc", "/reset_prefix_cache")
LORA = ("/load_lora_adapter", "/unload_lora_adapter")


@pytest.fixture
def fake(tmp_path: Path) -> FakeVLLM:
    return FakeVLLM(tmp_path)


@contextmanager
def served(fake: FakeVLLM, **variables: str) -> Iterator[tuple[Any, httpx.Client]]:
    """The process of `serve --model`, and a client of it; its vLLM may still be starting."""
    arguments = ("--model", fake.model, "--port", "0", "--data", str(fake.folder / "data"))
    python = {"VERIVOTE__ENGINES__MAIN__PYTHON": fake.python}
    with serving(*arguments, **python, **variables) as (process, line):
        assert "engine: vLLM with" in line
        url = re.search(r"serves (http://\S+)/v1", line)[1]
        with httpx.Client(base_url=url, timeout=LIMIT_S) as client:
            yield process, client


def until(client: httpx.Client, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What `/readyz` says once it is so."""
    said: list[dict[str, Any]] = []

    def ask() -> bool:
        said.append(client.get("/readyz").json())
        return is_so(said[-1])

    assert wait_until(ask, LIMIT_S), said[-1]
    return said[-1]


def is_ready(said: dict[str, Any]) -> bool:
    return bool(said["checks"]["engines"]["main"])


def test_it_serves_at_once_and_answers_when_the_model_is_loaded(fake: FakeVLLM) -> None:
    fake.order("slow")
    with served(fake) as (process, client):
        early = client.post("/v1/chat/completions", json=ASK)
        starting = client.get("/readyz")
        until(client, is_ready)
        reply = client.post("/v1/chat/completions", json=ASK)
        process.send_signal(signal.SIGTERM)
        status = process.wait(LIMIT_S)

    assert (early.status_code, early.json()["error"]["code"]) == (503, "upstream_starting")
    assert int(early.headers["retry-after"]) >= 1
    assert (starting.status_code, starting.json()["status"]) == (503, "starting")
    assert starting.json()["checks"]["servers"]["main"]["state"] == "starting"
    assert reply.json()["verification"]["status"] == "verified"
    assert reply.json()["verification"]["policy"] == "tiny"
    assert status == 0
    assert not is_alive(fake.launches[0]["pid"])


def test_a_vllm_that_cannot_start_is_given_up_and_readyz_says_why(fake: FakeVLLM) -> None:
    """The gateway itself lives: its pages and traces can be read."""
    fake.order("deaf")
    with served(fake, VERIVOTE__ENGINES__MAIN__START_S="0.2") as (_, client):
        said = until(client, lambda said: "why" in said["checks"]["servers"]["main"])
        alive = client.get("/livez").status_code

    assert "was not ready within 0.2 s" in said["checks"]["servers"]["main"]["why"]
    assert alive == 200
    assert wait_until(lambda: not any(is_alive(launch["pid"]) for launch in fake.launches))


def test_when_the_gateway_is_killed_nothing_of_it_stays(fake: FakeVLLM) -> None:
    fake.order("child")
    with served(fake) as (process, client):
        until(client, is_ready)
        process.kill()
        process.wait(LIMIT_S)
    told = fake.launches[0]

    assert wait_until(lambda: not is_alive(told["pid"]), LIMIT_S)
    assert wait_until(lambda: not is_alive(told["child"]), LIMIT_S)


def test_no_route_of_vllms_operators_is_reached_through_the_gateway(fake: FakeVLLM) -> None:
    """The fake answers all of them with 200; nothing that it says may come out."""
    with served(fake) as (_, client):
        until(client, is_ready)
        paths = [f"{prefix}{path}" for path in (*OPERATORS, *LORA) for prefix in ("", "/v1")]
        told = {"lora_name": "mine", "lora_path": "/tmp"}
        replies = [client.post(path, json=told) for path in paths]
        replies += [client.get(path) for path in paths]
        replies.append(client.get("/v1/../pause"))
        replies.append(client.get("/v1/models/..%2f..%2fpause"))
        listed = client.get("/v1/models").json()["data"]

    assert not [r.url for r in replies if "operators" in r.text]
    assert {r.status_code for r in replies[:-1]} <= {404, 405}
    assert "mine" not in [model["id"] for model in listed]
