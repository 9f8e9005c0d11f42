"""Routes, cascades and programs through the real API, with openai's client and the real model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, NotFoundError, UnprocessableEntityError

from tests.fakes.upstream import (
    FakeUpstream,
    Request,
    Steps,
    always,
    error_reply,
    model_list,
    scripted,
)
from tests.running import RunningGateway

WORDS = "Tom has 5 apples and buys 7 more. How many apples does Tom have? Answer with a number."
REFERENCE = {"use": "number", "reference": "987654"}
"""What no small model says by chance."""


async def ask(running: RunningGateway, prompt: str = WORDS, **more: Any) -> Any:
    client = AsyncOpenAI(base_url=f"{running.url}/v1", api_key="-", max_retries=0)
    messages: Any = [{"role": "user", "content": prompt}]
    async with client:
        return await client.chat.completions.create(model="auto", messages=messages, **more)


async def trace_of(running: RunningGateway, trace_id: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
        found: dict[str, Any] = (await client.get(f"/v1/traces/{trace_id}")).json()
        page = await client.get(f"/traces/{trace_id}")
    assert page.status_code == 200
    return {**found, "page": page.text}


@pytest.mark.embedded
async def test_the_real_model_is_drawn_in_rounds_until_a_rule_stops_it(gateway):
    running = gateway(None)
    reply = await ask(running, max_tokens=24, extra_body={"verify": {"mode": "always", "n": 6}})
    told = await trace_of(running, reply.id)

    group, verification = told["group"], reply.model_extra["verification"]
    assert group["plan"]["first_round"] == 3
    assert 2 <= len(group["scored"]) <= 6
    assert verification["stop_reason"] in ("margin", "ahead", "cap")
    assert verification["rounds"] == max(s["sample"]["round"] for s in group["scored"])
    assert verification["route_name"] == "default"
    assert "Drawing stopped" in told["page"]


@pytest.mark.embedded
async def test_the_real_model_is_asked_for_texts_and_programs_alternately(gateway):
    running = gateway(None)
    options = {"verify": {"mode": "always", "n": 4, "rule": "two_kinds"}}
    reply = await ask(running, max_tokens=60, extra_body=options)
    group = (await trace_of(running, reply.id))["group"]

    samples = [scored["sample"] for scored in group["scored"]]
    programs = [sample for sample in samples if sample["kind"] == "program"]
    assert group["plan"]["rule"] == "two_kinds"
    assert {sample["kind"] for sample in samples} == {"text", "program"}
    assert all(sample["raw_text"] != sample["text"] for sample in programs)
    assert not any(sample["trainable"] for sample in programs)
    assert reply.choices[0].message.content in {s["text"] for s in samples}


@pytest.mark.embedded
async def test_where_the_real_model_fails_its_checks_the_fallback_answers(gateway):
    """Two engines: the small model in its own process, and a server that knows the answer."""
    async with FakeUpstream(scripted("It is 987654.")) as big:
        running = gateway(
            None,
            engines={"large": {"base_url": big.url, "model": "big-1"}},
            aliases={"auto": "main", "big": "large"},
            routes=[
                {"name": "words", "match": {"metadata": {"kind": "sum"}}, "fallback": "big"},
            ],
        )
        options = {"verify": {"n": 3, "verifiers": [REFERENCE]}}
        reply = await ask(running, max_tokens=24, metadata={"kind": "sum"}, extra_body=options)
        told = await trace_of(running, reply.id)
        unmatched = await ask(running, "Hi", max_tokens=8)

    group, verification = told["group"], reply.model_extra["verification"]
    assert (verification["status"], verification["policy"]) == ("verified", "big-1")
    assert verification["route_name"] == "words"
    assert group["earlier"][0]["plan"]["policy"] == "smollm2-135m-instruct"
    assert {s["sample"]["stage"] for s in group["scored"]} == {0, 1}
    assert verification["samples"] == len(group["scored"])
    assert reply.usage.completion_tokens == sum(
        s["sample"]["completion_tokens"] for s in group["scored"]
    )
    assert "Two models were asked" in told["page"]
    assert unmatched.model_extra["verification"]["route_name"] == "default"


def cascade_of(small: FakeUpstream, big: FakeUpstream, **route: Any) -> dict[str, Any]:
    """Sections of a gateway in front of `small` with `big` to fall back on."""
    return {
        "engines": {
            "main": {"base_url": small.url, "model": "small-1", "retries": 0},
            "large": {"base_url": big.url, "model": "big-1", "retries": 0},
        },
        "aliases": {"auto": "main", "big": "large"},
        "routes": [{"name": "all", "effort": "low", "fallback": "big", **route}],
    }


async def test_a_stream_tells_the_text_of_the_stage_that_answers(gateway):
    async with (
        FakeUpstream(scripted("11", "12", "13", "14")) as small,
        FakeUpstream(scripted("It is 12.")) as big,
    ):
        running = gateway(small.url, **cascade_of(small, big))
        stream = await _streamed(running)

    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in stream)
    assert text == "It is 12."
    assert stream[-1]["verification"]["policy"] == "big-1"


async def _streamed(running: RunningGateway) -> list[dict[str, Any]]:
    client = AsyncOpenAI(base_url=f"{running.url}/v1", api_key="-", max_retries=0)
    async with client:
        stream = await client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": WORDS}], stream=True
        )
        return [chunk.model_dump() async for chunk in stream]


async def test_a_fallback_that_is_down_is_one_word_in_the_reply(gateway):
    async with (
        FakeUpstream(scripted("11", "12", "13", "14")) as small,
        FakeUpstream(lambda _: error_reply(503, "no")) as big,
    ):
        running = gateway(small.url, **cascade_of(small, big))
        reply = await ask(running)
        told = await trace_of(running, reply.id)

    assert reply.model_extra["verification"]["degraded"] == ["fallback"]
    assert reply.model_extra["verification"]["policy"] == "small-1"
    assert told["group"]["unused"]["plan"]["policy"] == "big-1"
    assert "gave nothing better" in told["page"]


async def test_what_a_route_says_of_unverified_answers_holds_and_the_request_may_say_otherwise(
    gateway,
):
    async with (
        FakeUpstream(scripted("11", "12", "13", "14")) as small,
        FakeUpstream(scripted("21", "22", "23", "24")) as big,
    ):
        running = gateway(small.url, **cascade_of(small, big, on_unverified="error"))
        with pytest.raises(UnprocessableEntityError) as refused:
            await ask(running)
        mine = await ask(running, extra_body={"verify": {"on_unverified": "return"}})

    assert refused.value.code == "verification_failed"
    assert mine.model_extra["verification"]["status"] == "unverified"


def knows_only(model: str) -> Callable[[Request], Steps]:
    """A server that refuses every other model as OpenAI's does."""

    def answer(request: Request) -> Steps:
        asked = request.body["model"]
        if asked != model:
            message = f"The model `{asked}` does not exist."
            return error_reply(404, message, code="model_not_found")
        return scripted("42")(request)

    return answer


async def test_a_policy_that_the_engine_does_not_serve_is_told_with_its_key(gateway):
    routes = [
        {"name": "tax", "match": {"alias": "tax"}},
        {"name": "sums", "match": {"metadata": {"kind": "sum"}}, "policy": "policy-9"},
    ]
    async with FakeUpstream(knows_only("m"), always(model_list("m"))) as fake:
        running = gateway(fake.url, routes=routes)
        with pytest.raises(NotFoundError) as refused:
            await ask(running, metadata={"kind": "sum"})
        unmatched = await ask(running)

    assert refused.value.code == "model_not_found"
    assert (
        "routes[1].policy of route 'sums' is 'policy-9', which engine 'main' does not serve and "
        "which is no alias. It says: The model `policy-9` does not exist."
    ) in refused.value.message
    assert unmatched.model_extra["verification"]["policy"] == "m"


async def test_a_model_that_the_client_names_itself_is_no_fault_of_a_route(gateway):
    routes = [{"name": "all", "policy": "policy-9"}]
    async with FakeUpstream(knows_only("m"), always(model_list("m"))) as fake:
        running = gateway(fake.url, routes=routes)
        client = AsyncOpenAI(base_url=f"{running.url}/v1", api_key="-", max_retries=0)
        async with client:
            reply = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": WORDS}]
            )

    assert reply.model_extra["verification"]["policy"] == "m"
