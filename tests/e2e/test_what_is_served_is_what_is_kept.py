"""Requests through the whole gateway: what the client got, what the trace and the page show."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.fakes.upstream import FakeUpstream, Request, Steps, chunk, json_reply, scripted, usage

LARGE = 9007199254740993
"""2^53 + 1: the first integer that a double cannot hold."""
TOOL = {
    "type": "function",
    "function": {
        "name": "get_order",
        "parameters": {
            "type": "object",
            "properties": {"id": {"type": "integer"}},
            "required": ["id"],
            "additionalProperties": False,
        },
    },
}


async def ask(url: str, content: str, **more: Any) -> dict[str, Any]:
    body = {"model": "auto", "messages": [{"role": "user", "content": content}], **more}
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def page_of(url: str, trace_id: str) -> str:
    async with httpx.AsyncClient(base_url=url) as client:
        return (await client.get(f"/traces/{trace_id}")).text


async def trace_of(url: str, trace_id: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url) as client:
        found: dict[str, Any] = (await client.get(f"/v1/traces/{trace_id}")).json()
    return found


@pytest.mark.postgres
async def test_a_nul_character_is_stored_visibly_and_holds_up_nobody(gateway, postgres):
    """Postgres has no NUL: a trace was lost, or one bad row stopped every later one."""
    async with FakeUpstream(scripted("ok\u0000done", "fine", "fine")) as fake:
        running = gateway(fake.url, store={"url": postgres.new_database()})
        prompts = ["size\u0000 of file", "Tell me of ships.", "Tell me of trains."]
        ids = [(await ask(running.url, prompt))["id"] for prompt in prompts]
        deadline = time.monotonic() + 10
        while (health := await running_health(running.url))["spool_depth"]:
            assert time.monotonic() < deadline, health
        traces = [await trace_of(running.url, trace_id) for trace_id in ids]
        page = await page_of(running.url, ids[0])

    first = traces[0]["group"]
    assert first["task"]["messages"][0]["content"] == "size\u2400 of file"
    assert first["scored"][0]["sample"]["text"] == "ok\u2400done"
    assert first["altered"] == ["nul"]
    assert len(first["original_sha256"]) == 64
    assert [trace["id"] for trace in traces] == ids
    assert "ok\u2400done" in page


async def running_health(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url) as client:
        checks: dict[str, Any] = (await client.get("/readyz")).json()["checks"]
    return checks


def calls(*arguments: str) -> Any:
    """Each choice calls the tool with the next arguments in turn."""
    said = 0

    def answer(request: Request) -> Steps:
        nonlocal said
        n = request.body.get("n") or 1
        made = []
        for index in range(n):
            text = arguments[(said + index) % len(arguments)]
            function = {"name": "get_order", "arguments": text}
            call = {"id": f"call_{said + index}", "type": "function", "function": function}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            made.append({"index": index, "message": message, "finish_reason": "tool_calls"})
        said += n
        return json_reply({**chunk(*made), "object": "chat.completion", "usage": usage(7, 7 * n)})

    return answer


async def test_a_large_integer_in_tool_arguments_keeps_every_digit_in_vote_reply_and_page(gateway):
    upstream = calls(f'{{"id": {LARGE}}}', f'{{"id":{LARGE}}}', f'{{"id": {LARGE - 1}}}')
    async with FakeUpstream(upstream) as fake:
        running = gateway(fake.url)
        reply = await ask(
            running.url, "Where is my order?", tools=[TOOL], verify={"mode": "always", "n": 4}
        )
        page = await page_of(running.url, reply["id"])

    served = reply["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert sorted(reply["verification"]["votes"].values()) == [1, 3]
    assert str(LARGE) in served
    assert str(LARGE) in page
    assert str(LARGE - 1) in page


class Person(BaseModel):
    name: str
    age: int


async def parse(url: str) -> Any:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        return await client.chat.completions.parse(
            model="auto",
            messages=[{"role": "user", "content": "Invent a person."}],
            response_format=Person,
        )


FENCED = '```json\n{"name":"Ada","age":36}\n```'


@pytest.mark.parametrize(
    "samples",
    [
        (FENCED, '{"name": "Ada", "age": 36}', '{"age":36,"name":"Ada"}'),
        (FENCED,),
    ],
    ids=["mixed", "only_fenced"],
)
async def test_json_is_served_as_it_was_verified_and_the_client_can_parse_it(gateway, samples):
    async with FakeUpstream(scripted(*samples)) as fake:
        running = gateway(fake.url)
        reply = await parse(running.url)

    message = reply.choices[0].message
    assert message.parsed == Person(name="Ada", age=36)
    assert json.loads(message.content) == {"name": "Ada", "age": 36}
    assert reply.model_extra["verification"]["status"] == "verified"


async def test_a_server_that_ignores_n_still_fills_the_group(gateway):
    prompt = "Which city is the capital of Australia? Answer with the city only."
    async with FakeUpstream(scripted("Canberra", ignores_n=True)) as fake:
        running = gateway(fake.url)
        reply = await ask(running.url, prompt, verify={"mode": "always", "n": 5})
        drawn = len(fake.drawn)

    assert reply["verification"]["votes"] == {"canberra": reply["verification"]["samples"]}
    assert reply["verification"]["samples"] >= 3
    assert drawn >= 3
    assert reply["usage"]["completion_tokens"] == reply["verification"]["samples"]


async def test_an_answer_that_was_called_wrong_is_not_served_from_the_cache_again(gateway):
    async with FakeUpstream(scripted("42")) as fake:
        running = gateway(fake.url)
        first = await ask(running.url, "What is 6 * 7?")
        hit = await ask(running.url, "What is 6 * 7?")
        async with httpx.AsyncClient(base_url=running.url) as client:
            said = await client.post(f"/v1/traces/{hit['id']}/feedback", json={"label": "wrong"})
        after = await ask(running.url, "What is 6 * 7?")

    assert first["verification"]["cache"]["hit"] is False
    assert hit["verification"]["cache"]["hit"] is True
    assert said.status_code == 200
    assert after["verification"]["cache"]["hit"] is False
