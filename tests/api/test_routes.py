"""Every route and method: OpenAI's error form, and replies as openapi.json says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.fakes.upstream import FakeUpstream, model_list, scripted
from tests.running import RunningGateway

Start = Callable[..., RunningGateway]
HI = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
GUESS = {"model": "auto", "messages": [{"role": "user", "content": "What is 19 + 23?"}]}


@pytest.fixture
def client(gateway: Start) -> Iterator[httpx.Client]:
    """In front of an upstream that is away."""
    with httpx.Client(base_url=gateway("http://127.0.0.1:9/v1").url, timeout=20) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/models/auto", 405),
        ("PUT", "/v1/traces", 405),
        ("GET", "/v1/traces/chatcmpl-0", 404),
        ("GET", "/v1/traces/%00", 404),
        ("GET", "/v1/traces/chatcmpl-0/feedback", 405),
        ("POST", "/livez", 405),
        ("TRACE", "/readyz", 405),
    ],
)
def test_what_is_not_there_is_told_in_openais_form(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    reply = client.request(method, path)

    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"]
    assert ("allow" in reply.headers) == (status == 405)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("status=perhaps", "status"),
        ("quick=slow", "quick"),
        ("since=yesterday", "since"),
        ("since=nan", "since"),
        ("statu=verified", "statu"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_a_bad_filter_names_its_parameter(client: httpx.Client, query: str, param: str) -> None:
    reply = client.get(f"/v1/traces?{query}")

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_with_the_upstream_away_the_aliases_remain(client: httpx.Client) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["auto"]
    assert client.get("/models/any/model:7b").json()["id"] == "any/model:7b"


def test_with_the_upstream_away_it_lives_but_is_not_ready(client: httpx.Client) -> None:
    ready = client.get("/readyz")

    assert client.get("/livez").status_code == 200
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
    assert ready.json()["checks"]["engines"] == {"main": False}


async def test_models_are_the_aliases_and_the_upstreams_own(gateway: Start) -> None:
    models = model_list("org/model:7b", "auto")
    async with FakeUpstream(scripted("Hi"), lambda request: models) as fake:
        url = gateway(fake.url, aliases={"auto": "main", "*": "main"}).url
        async with httpx.AsyncClient(base_url=url) as client:
            listed = (await client.get("/v1/models")).json()
            one = (await client.get("/v1/models/org/model:7b")).json()
            reply = await client.post("/v1/chat/completions", json={**HI, "model": one["id"]})
            asked = fake.drawn[-1].body["model"]

    assert [model["id"] for model in listed["data"]] == ["auto", "org/model:7b"]
    assert (one["object"], one["owned_by"]) == ("model", "fake")
    assert (reply.json()["model"], asked) == ("org/model:7b", "org/model:7b")


async def test_an_unknown_model_is_404_without_a_wildcard(gateway: Start) -> None:
    async with FakeUpstream(scripted("Hi")) as fake:
        running = gateway(fake.url)
        settings = running.settings.model_copy(update={"aliases": {"auto": "main"}})
        assert "*" in running.settings.aliases
        running.application.state.settings = settings
        async with httpx.AsyncClient(base_url=running.url) as client:
            reply = await client.get("/v1/models/gpt-9")

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_wrong_label_is_stored_and_empties_the_cache(gateway: Start) -> None:
    async with FakeUpstream(scripted("42")) as fake:
        running = gateway(fake.url)
        async with httpx.AsyncClient(base_url=running.url) as client:
            first = (await client.post("/v1/chat/completions", json=GUESS)).json()
            hit = (await client.post("/v1/chat/completions", json=GUESS)).json()
            path = f"/v1/traces/{hit['id']}"
            said = {"label": "wrong", "correction": "43"}
            label = (await client.post(f"{path}/feedback", json=said)).json()
            trace = (await client.get(path)).json()
            after = (await client.post("/v1/chat/completions", json=GUESS)).json()

    assert [r["verification"]["cache"]["hit"] for r in (first, hit, after)] == [False, True, False]
    assert hit["verification"]["cache"]["source_trace_id"] == first["id"]
    assert trace["labels"] == [label]
    assert (label["label"], label["correction"], label["author"]) == ("wrong", "43", "local")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "label"),
        ({"label": "maybe"}, "label"),
        ({"label": "note"}, "note"),
        ({"label": "right", "sample": 99}, "sample"),
        ({"label": "right", "sample": "0"}, "sample"),
        ({"label": "right", "smaple": 0}, "smaple"),
    ],
)
async def test_bad_feedback_names_its_field(gateway: Start, body: Any, param: str) -> None:
    async with (
        FakeUpstream(scripted("Hi")) as fake,
        httpx.AsyncClient(base_url=gateway(fake.url).url) as client,
    ):
        made = (await client.post("/v1/chat/completions", json=HI)).json()
        reply = await client.post(f"/v1/traces/{made['id']}/feedback", json=body)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_traces_are_paged_and_filtered(gateway: Start) -> None:
    async with (
        FakeUpstream(scripted("Hi")) as fake,
        httpx.AsyncClient(base_url=gateway(fake.url).url) as client,
    ):
        made = []
        for team in ("a", "b", "b"):
            body = {**HI, "metadata": {"team": team}}
            made.append((await client.post("/v1/chat/completions", json=body)).json()["id"])
        page = (await client.get("/v1/traces?limit=2")).json()
        rest = (await client.get(f"/v1/traces?before={page['next_before']}")).json()
        of_a = (await client.get("/v1/traces", params={"metadata[team]": "a"})).json()

    assert [row["id"] for row in page["data"] + rest["data"]] == made[::-1]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert [row["id"] for row in of_a["data"]] == made[:1]


async def test_keys_are_asked_for_their_scope_and_see_their_tenant_only(gateway: Start) -> None:
    async with FakeUpstream(scripted("Hi")) as fake:
        running = gateway(fake.url, server={"keys": "required"})
        keys = running.application.state.keys
        _, ada = await keys.create("ada", ["infer", "traces:read"], "ada")
        _, bob = await keys.create("bob", ["traces:read"], "bob")
        async with httpx.AsyncClient(base_url=running.url) as client:

            async def ask(method: str, path: str, key: str, **more: Any) -> httpx.Response:
                headers = {"authorization": f"Bearer {key}"} if key else {}
                return await client.request(method, path, headers=headers, **more)

            nobody = await ask("POST", "/v1/chat/completions", "", json=HI)
            wrong = await ask("POST", "/v1/chat/completions", ada[:-1] + "x", json=HI)
            made = await ask("POST", "/v1/chat/completions", ada, json=HI)
            no_scope = await ask("POST", "/v1/chat/completions", bob, json=HI)
            path = f"/v1/traces/{made.json()['id']}"
            seen = [(await ask("GET", path, key)).status_code for key in (ada, bob)]
            open_to_all = [(await client.get(p)).status_code for p in ("/livez", "/version")]

    assert [r.status_code for r in (nobody, wrong, made, no_scope)] == [401, 401, 200, 403]
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert (nobody.json()["error"]["code"], no_scope.json()["error"]["type"]) == (
        "invalid_api_key",
        "permission_error",
    )
    assert (seen, open_to_all) == ([200, 404], [200, 200])


async def test_replies_are_what_the_openapi_document_says(gateway: Start) -> None:
    async with (
        FakeUpstream(scripted("42")) as fake,
        httpx.AsyncClient(base_url=gateway(fake.url).url) as client,
    ):
        document = (await client.get("/openapi.json")).json()
        made = await client.post("/v1/chat/completions", json={**GUESS, "logprobs": True})
        trace = f"/v1/traces/{made.json()['id']}"
        replies = {
            ("/v1/chat/completions", "post"): made,
            ("/v1/models", "get"): await client.get("/v1/models"),
            ("/v1/models/{model}", "get"): await client.get("/v1/models/auto"),
            ("/v1/traces", "get"): await client.get("/v1/traces"),
            ("/v1/traces/{trace_id}", "get"): await client.get(trace),
            ("/v1/traces/{trace_id}/feedback", "post"): await client.post(
                f"{trace}/feedback", json={"label": "note", "note": "n"}
            ),
            ("/livez", "get"): await client.get("/livez"),
            ("/readyz", "get"): await client.get("/readyz"),
            ("/version", "get"): await client.get("/version"),
        }

    for (path, method), reply in replies.items():
        content = document["paths"][path][method]["responses"]["200"]["content"]
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        assert jsonschema_rs.is_valid(schema, reply.json()), (path, reply.text)
