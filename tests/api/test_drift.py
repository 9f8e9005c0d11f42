"""`/v1/admin/drift` over a real gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

HERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def client(gateway: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway(HERE).url, timeout=20) as client:
        yield client


def test_the_windows_are_those_that_were_asked_for(client: httpx.Client) -> None:
    told = client.get("/v1/admin/drift", params={"days": 2, "before": 5, "engine": "main"}).json()
    widths = [(told[part]["until"] - told[part]["since"]) / 86_400 for part in ("before", "after")]

    assert (told["object"], told["engine"], told["drifted"]) == ("drift", "main", [])
    assert widths == pytest.approx([5.0, 2.0])
    assert told["before"]["until"] == told["after"]["since"]
    assert "reward" in told["not_compared"]


def test_without_words_it_is_a_week_against_four(client: httpx.Client) -> None:
    told = client.get("/v1/admin/drift").json()

    assert told["after"]["until"] - told["before"]["since"] == pytest.approx(35 * 86_400)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("days=0", "days"),
        ("before=9999", "before"),
        ("days=soon", "days"),
        ("dyas=3", "dyas"),
        ("days=1&days=2", "days"),
    ],
)
def test_what_does_not_fit_names_the_parameter(
    client: httpx.Client, query: str, param: str
) -> None:
    reply = client.get(f"/v1/admin/drift?{query}")

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_it_asks_for_a_key_that_may(gateway: Any) -> None:
    with httpx.Client(base_url=gateway(HERE, server={"keys": "required"}).url) as client:
        assert client.get("/v1/admin/drift").status_code == 401
