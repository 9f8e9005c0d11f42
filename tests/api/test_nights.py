"""`/v1/admin/retrain` over a real gateway: begun once, refused with the reason, listed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.upstream import FakeUpstream, scripted
from tests.retrain.nights import fake_trainer

HERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def retrain(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "base").mkdir()
    return {"base": str(tmp_path / "base"), "python": fake_trainer(tmp_path)}


@pytest.fixture
def client(gateway: Any, retrain: dict[str, Any]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway(HERE, retrain=retrain).url, timeout=20) as client:
        yield client


def ended(client: httpx.Client, night_id: str) -> dict[str, Any]:
    for _ in range(600):
        night: dict[str, Any] = client.get(f"/v1/admin/retrain/{night_id}").json()
        if night["status"] != "running":
            return night
        time.sleep(0.05)
    raise AssertionError("the night does not end")


def test_a_night_is_begun_and_ends_with_its_reason(client: httpx.Client) -> None:
    begun = client.post("/v1/admin/retrain", json={"day": "2026-11-27"})
    night = ended(client, begun.json()["id"])
    listed = client.get("/v1/admin/retrain").json()

    assert (begun.status_code, begun.json()["id"]) == (202, "2026-11-27-main")
    assert (night["status"], night["policy"]) == ("failed", "policy-1")
    assert "engine 'main' does not answer" in night["reason"]
    assert night["report"]["night"]["reason"] == night["reason"]
    assert [row["id"] for row in listed["data"]] == [night["id"]]


async def test_the_second_call_names_the_same_night(gateway: Any, retrain: dict[str, Any]) -> None:
    async with FakeUpstream(scripted("4")) as fake:
        running = gateway(fake.url, retrain=retrain)
        async with httpx.AsyncClient(base_url=running.url, timeout=20) as client:
            first, second = [await client.post("/v1/admin/retrain") for _ in range(2)]
            listed = (await client.get("/v1/admin/retrain")).json()["data"]

    assert first.status_code == 202
    assert second.status_code in (200, 202)
    assert second.json()["id"] == first.json()["id"]
    assert len(listed) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"objective": "gpro"}, "objective"),
        ({"objective": 3}, "objective"),
        ({"day": "yesterday"}, "day"),
        ({"day": "2026-02-30"}, "day"),
        ({"dya": "2026-11-27"}, "dya"),
        ([], None),
    ],
)
def test_what_does_not_fit_names_the_field(client: httpx.Client, body: Any, param: str) -> None:
    reply = client.post("/v1/admin/retrain", json=body)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_a_gateway_that_cannot_train_says_what_is_missing(gateway: Any) -> None:
    with httpx.Client(base_url=gateway(HERE).url, timeout=20) as client:
        reply = client.post("/v1/admin/retrain")

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "night_not_possible")
    assert reply.json()["error"]["message"].startswith("No night can begin: retrain.")


def test_a_night_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    reply = client.get("/v1/admin/retrain/2020-01-01-main")

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "night_not_found")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_asks_for_a_key_that_may(gateway: Any, method: str) -> None:
    with httpx.Client(base_url=gateway(HERE, server={"keys": "required"}).url) as client:
        reply = client.request(method, "/v1/admin/retrain")

    assert reply.status_code == 401
