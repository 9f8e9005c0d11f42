"""What was found once is not drawn again, through whole gateways: every way an answer is reused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jsonschema

from tests.fakes.arithmetic import multiplying
from tests.fakes.upstream import FakeUpstream, Request, Steps, always, model_list, scripted
from tests.redis_server import RedisServer
from tests.running import RunningGateway

Start = Callable[..., RunningGateway]
QUESTION = "What is 6 * 7?"
APPLES = "Tom has 5 apples and buys 7 more at the shop. How many apples does Tom have now?"
NEAR = ({"name": "shop", "reuse": "near"},)


@asynccontextmanager
async def asking(running: RunningGateway) -> AsyncIterator[Callable[..., Any]]:
    """`await ask(prompt, …)` gives the reply and how the cache was."""
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:

        async def ask(prompt: str, **more: Any) -> tuple[dict[str, Any], str]:
            body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], **more}
            reply = await client.post("/v1/chat/completions", json=body)
            assert reply.status_code in (200, 422), reply.text
            return reply.json(), reply.headers["x-verivote-cache"]

        yield ask


def said(reply: dict[str, Any]) -> str:
    text: str = reply["choices"][0]["message"]["content"]
    return text


async def test_a_verified_answer_serves_every_budget(gateway: Start):
    async with FakeUpstream(multiplying()) as fake, asking(gateway(fake.url)) as ask:
        first, missed = await ask(QUESTION, verify={"effort": "low"})
        second, hit = await ask(QUESTION, verify={"effort": "high", "rule": "fixed"})

        assert (missed, hit) == ("miss", "hit")
        assert said(second) == said(first) == "It is 42."
        assert second["verification"]["cache"]["source_trace_id"] == first["id"]
        assert len(fake.drawn) == 1


async def test_a_failure_is_not_repeated_unless_somebody_tries_harder(gateway: Start):
    async with FakeUpstream(multiplying(off_by=1)) as fake, asking(gateway(fake.url)) as ask:
        first, _ = await ask(QUESTION, verify={"n": 4})
        drawn = len(fake.drawn)
        again, known = await ask(QUESTION, verify={"n": 3})
        _, refused = await ask(QUESTION, verify={"n": 4, "on_unverified": "error"})
        assert len(fake.drawn) > drawn  # refusing is another attempt
        drawn = len(fake.drawn)
        _, harder = await ask(QUESTION, verify={"n": 6})

        assert (known, refused, harder) == ("negative", "miss", "miss")
        assert again["verification"]["status"] == "unverified"
        assert again["verification"]["cache"]["negative"] is True
        assert again["verification"]["cache"]["source_trace_id"] == first["id"]
        assert len(fake.drawn) > drawn


async def test_pc_039_everything_that_shapes_the_answer_is_in_the_key(gateway: Start):
    def schema(**properties: str) -> dict[str, Any]:
        typed = {name: {"type": kind} for name, kind in properties.items()}
        return {
            "type": "object",
            "properties": typed,
            "required": list(typed),
            "additionalProperties": False,
        }

    def answer(request: Request) -> Steps:
        form = request.body["response_format"]["json_schema"]["schema"]
        value = '{"value":"42"}' if "value" in form["properties"] else '{"title":"sum","score":42}'
        return scripted(value)(request)

    def formed(form: dict[str, Any]) -> dict[str, Any]:
        named = {"name": "d", "strict": True, "schema": form}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    prompt = "What is 40 + 2? Answer in the given shape."
    one, other = schema(value="string"), schema(title="string", score="integer")
    async with FakeUpstream(answer) as fake, asking(gateway(fake.url)) as ask:
        for _ in range(3):
            first, _ = await ask(prompt, **formed(one))
        second, cache = await ask(prompt, **formed(other))
        last, _ = await ask(prompt, **formed(one))

    assert cache == "miss"
    assert said(first) == said(last) == '{"value":"42"}'
    jsonschema.validate(json.loads(said(second)), other)


DIFFERENT: tuple[dict[str, Any], ...] = (
    {"max_tokens": 5},
    {"stop": ["!"]},
    {"n": 2},
    {"seed": 7},
    {"logprobs": True},
    {"temperature": 0.1},
    {"prompt_cache_key": "other"},
    {"parallel_tool_calls": False},
    {"verify": {"cache": "off"}},
)


async def test_a_request_that_differs_is_another_request(gateway: Start):
    async with FakeUpstream(multiplying()) as fake, asking(gateway(fake.url)) as ask:
        reused = []
        for number, changed in enumerate(DIFFERENT):
            await ask(f"What is {number} * 7?")
            _, cache = await ask(f"What is {number} * 7?", **changed)
            reused += [] if cache in ("miss", "off") else [changed]

        assert reused == []


async def test_a_client_says_whether_it_reads_and_writes(gateway: Start):
    words = {}
    async with FakeUpstream(multiplying()) as fake, asking(gateway(fake.url)) as ask:
        for number, mode in enumerate(("on", "read_only", "write_only", "off")):
            prompt = f"What is {number} * 7?"
            in_mode = [(await ask(prompt, verify={"cache": mode}))[1] for _ in range(2)]
            words[mode] = (*in_mode, (await ask(prompt))[1])

        assert words == {
            "on": ("miss", "hit", "hit"),
            "read_only": ("miss", "miss", "miss"),
            "write_only": ("miss", "miss", "hit"),
            "off": ("off", "off", "miss"),
        }


async def test_what_may_not_be_stored_is_not_cached(gateway: Start):
    async with FakeUpstream(multiplying()) as fake, asking(gateway(fake.url)) as ask:
        words = [(await ask(QUESTION, store=False))[1] for _ in range(2)]
        words += [(await ask(QUESTION))[1], (await ask(QUESTION, store=False))[1]]

        assert words == ["miss", "miss", "miss", "hit"]


@asynccontextmanager
async def policies(start: Start, redis_url: str, *names: str) -> AsyncIterator[dict[str, Any]]:
    """Gateways in front of upstreams that serve these models, over one cache."""
    async with FakeUpstream(multiplying()) as fake:
        fake.models = always(model_list(*names))
        found = {}
        for name in names:
            engine = {"base_url": fake.url, "model": name}
            running = start(fake.url, engines={"main": engine}, cache={"url": redis_url})
            found[name] = running
        yield {"fake": fake, **found}


async def test_after_a_promotion_answers_are_checked_anew_and_not_drawn(
    gateway: Start, own_redis: RedisServer
):
    async with (
        policies(gateway, own_redis.url, "smol", "policy-1", "policy-2") as at,
        asking(at["smol"]) as base,
        asking(at["policy-1"]) as first,
        asking(at["policy-2"]) as second,
    ):
        source, _ = await base(QUESTION)
        checked, anew = await second(QUESTION)
        again, hit = await second(QUESTION)
        drawn = len(at["fake"].drawn)
        # Back to the first policy: nothing that the second has answered is served.
        await second("What is 8 * 9?")
        _, after_rollback = await first("What is 8 * 9?")
        _, older = await first(QUESTION)

        assert (anew, hit, drawn) == ("reverified", "hit", 1)
        assert said(checked) == said(again) == "It is 42."
        assert checked["verification"]["cache"]["reverified"] is True
        assert checked["verification"]["cache"]["source_trace_id"] == source["id"]
        assert checked["verification"]["policy"] == "smol"
        assert (after_rollback, older) == ("miss", "reverified")
        trace = await _trace(at["policy-2"], checked["id"])
        assert [s["name"] for s in trace["group"]["spans"]] == [
            "admit",
            "plan",
            "cache",
            "verify:calculator",
        ]


async def _trace(running: RunningGateway, trace_id: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=running.url) as client:
        found: dict[str, Any] = (await client.get(f"/v1/traces/{trace_id}")).json()
    return found


async def test_an_answer_that_other_verifiers_refute_is_drawn_anew(gateway: Start):
    def number(reference: str) -> dict[str, Any]:
        return {"verify": {"verifiers": [{"use": "number", "reference": reference}], "n": 2}}

    async with FakeUpstream(scripted("12")) as fake, asking(gateway(fake.url)) as ask:
        await ask(APPLES, **number("12"))
        accepted, anew = await ask(
            APPLES, verify={"verifiers": [{"use": "math", "reference": "12"}]}
        )
        drawn = len(fake.drawn)
        _, cache = await ask(APPLES, **number("13"))

        assert (anew, said(accepted), drawn) == ("reverified", "12", 1)
        assert cache == "miss"
        assert len(fake.drawn) > drawn


async def test_other_wordings_are_reused_only_where_a_route_says_so(gateway: Start):
    spaced = APPLES.replace(" ", "  ").replace("now?", "now")
    verify = {"verifiers": [{"use": "number", "reference": "12"}]}
    async with FakeUpstream(scripted("12")) as fake:
        plain, near = gateway(fake.url), gateway(fake.url, routes=NEAR)
        async with asking(plain) as ask:
            words = [(await ask(prompt, verify=verify))[1] for prompt in (APPLES, spaced)]
        async with asking(near) as ask:
            words += [(await ask(prompt, verify=verify))[1] for prompt in (APPLES, spaced, spaced)]

    assert words == ["miss", "miss", "miss", "near", "hit"]


async def test_another_wording_must_pass_the_verifiers_of_the_new_request(gateway: Start):
    def number(reference: str) -> dict[str, Any]:
        return {"verify": {"verifiers": [{"use": "number", "reference": reference}], "n": 1}}

    async with (
        FakeUpstream(scripted("12")) as fake,
        asking(gateway(fake.url, routes=NEAR)) as ask,
    ):
        await ask(APPLES, **number("12"))
        _, refuted = await ask(APPLES.replace("shop", "store"), **number("11"))
        _, passed = await ask(APPLES.replace("shop", "mall"), **number("12"))
        _, other_number = await ask(APPLES.replace("5", "6"), **number("12"))

    assert (refuted, passed, other_number) == ("miss", "near", "miss")


async def test_a_form_that_fits_is_no_proof_for_another_wording(gateway: Start):
    form = {"type": "json_schema", "json_schema": {"name": "d", "schema": {"type": "object"}}}
    pears = APPLES.replace("apples", "pears")
    async with (
        FakeUpstream(scripted('{"apples": 12}')) as fake,
        asking(gateway(fake.url, routes=NEAR)) as ask,
    ):
        words = [(await ask(p, response_format=form))[1] for p in (APPLES, pears, APPLES)]

    assert words == ["miss", "miss", "hit"]
