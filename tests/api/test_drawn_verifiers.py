"""Judges, pools and hidden verifiers, from the settings to the reply of a real gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.errors import ConfigError
from app.main import create_app
from tests.fakes.upstream import FakeUpstream, Request, Steps, scripted
from tests.running import RunningGateway, settings_for

Start = Callable[..., RunningGateway]
CAPITAL = {"role": "user", "content": "Tell me about the capital of Australia."}
JUDGE = {"use": "judge", "rubric": ["Names the city.", "Is polite."]}
POOL = {"sums": {"take": 1, "verifiers": [{"use": "steps"}, {"use": "steps", "min_steps": 3}]}}
SUM = {"role": "user", "content": "How many are 19 + 23 apples? Show your steps."}


def opinion(request: Request, *, passes: str = "Canberra") -> Steps | None:
    """The reply of a judge, when the request is one to a judge."""
    wanted = request.body.get("response_format")
    if not wanted:
        return None
    user = request.body["messages"][-1]["content"]
    text = re.search(r"<answer \w+>\n(.*?)\n</answer", user, re.DOTALL)[1]
    mark = "met" if passes in text else "not_met"
    items = [{"id": f"r{i}", "reasons": "Because.", "mark": mark} for i in (1, 2)]
    return scripted(json.dumps({"items": items}))(request)


def answering(text: str, **how: Any):
    said = scripted(text)
    return lambda request: opinion(request, **how) or said(request)


async def ask(gateway: RunningGateway, message: Any, **verify: Any) -> httpx.Response:
    body = {"model": "auto", "messages": [message], "verify": verify}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        return await client.post("/v1/chat/completions", json=body)


async def trace_of(gateway: RunningGateway, reply: httpx.Response) -> Any:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        found = await client.get(f"/v1/traces/{reply.headers['x-verivote-trace-id']}")
    return found.json()


async def test_a_judge_asks_the_engine_that_the_settings_name(gateway: Start) -> None:
    async with FakeUpstream(answering("It is Canberra.")) as fake:
        started = gateway(fake.url, verifiers={"judge_engine": "main"})
        reply = await ask(started, CAPITAL, verifiers=[JUDGE])

    told = reply.json()["verification"]
    assert told["verifiers"][0] == {"name": "judge", "status": "pass", "score": 1.0}
    assert told["status"] != "verified"


async def test_without_a_judge_engine_a_judge_is_an_error(gateway: Start) -> None:
    async with FakeUpstream(answering("It is Canberra.")) as fake:
        reply = await ask(gateway(fake.url), CAPITAL, verifiers=[JUDGE])

    assert reply.json()["verification"]["verifiers"][0]["status"] == "error"


async def test_a_hidden_verifier_is_counted_and_not_named(gateway: Start) -> None:
    async with FakeUpstream(scripted("19 + 23 = 42. Answer: 42")) as fake:
        started = gateway(fake.url, verifiers={"pools": POOL})
        visible = {"use": "number", "reference": "42"}
        reply = await ask(started, SUM, verifiers=[visible], include=["trace"])
        trace = await trace_of(started, reply)

    told = reply.json()["verification"]
    assert [v["name"] for v in told["verifiers"]] == ["number"]
    assert told["hidden_verifiers"] == 1
    assert re.findall(r'"[^"]*steps[^"]*"', reply.text.replace("Show your steps", "")) == [
        '"steps"' for _ in re.findall('"steps":null', reply.text)
    ]
    assert '"verifier": "steps"' in json.dumps(trace)


async def test_the_choice_of_a_pool_is_in_the_plan(gateway: Start) -> None:
    async with FakeUpstream(scripted("19 + 23 = 42. Answer: 42")) as fake:
        started = gateway(fake.url, verifiers={"pools": POOL})
        traces = [await trace_of(started, await ask(started, SUM)) for _ in range(8)]

    refs = [ref for trace in traces for ref in trace["group"]["plan"]["verifiers"] if ref["hidden"]]
    assert {(ref["name"], ref["source"]) for ref in refs} == {("steps", "route")}
    assert (len(refs), len({ref["config_hash"] for ref in refs})) == (8, 2)


async def test_a_hidden_veto_keeps_an_answer_from_being_verified(gateway: Start) -> None:
    async with FakeUpstream(scripted("19 + 23 = 43, so 42. Answer: 42")) as fake:
        started = gateway(fake.url, verifiers={"pools": POOL})
        verifiers = [{"use": "number", "reference": "42"}]
        reply = await ask(started, SUM, verifiers=verifiers, n=2)

    assert reply.json()["verification"]["status"] == "unverified"


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"use": "stepz"}, "verifiers.pools.p.verifiers[0].use"),
        ({"use": "steps", "rounding_": "x"}, "verifiers.pools.p.verifiers[0].rounding_"),
        ({"use": "steps", "weight": -1}, "verifiers.pools.p.verifiers[0].weight"),
    ],
)
def test_a_pool_that_cannot_be_meant_is_refused_at_the_start(tmp_path, spec, named) -> None:
    pools = {"p": {"verifiers": [spec]}}
    settings = settings_for(tmp_path, "http://127.0.0.1:9/v1", verifiers={"pools": pools})

    with pytest.raises(ConfigError, match=re.escape(named)):
        create_app(settings)


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"judge_engine": "other"}, "verifiers.judge_engine"),
        ({"pools": {"p": {}}}, "verifiers.pools.p.verifiers"),
        ({"pools": {"p": {"verifiers": [{}]}}}, "verifiers.pools.p.verifiers"),
        (
            {"pools": {"p": {"verifiers": [{"use": "steps"}], "kindd": "number"}}},
            "did you mean 'kind'",
        ),
        ({"canary_rate": 2}, "verifiers.canary_rate"),
    ],
)
def test_a_bad_setting_is_refused_by_name(tmp_path, section, named) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        settings_for(tmp_path, "http://127.0.0.1:9/v1", verifiers=section)


async def test_a_verifier_that_is_out_of_use_makes_the_gateway_degraded(gateway: Start) -> None:
    """This judge is fooled by one known-bad answer and not by the other, so that sooner or later
    it passes the one as a canary. Readiness gives a number and no name."""
    judge = {**JUDGE, "known_bad": ["Sydney, as everybody knows.", "Perth, as everybody knows."]}
    async with FakeUpstream(answering("It is Sydney.", passes="Sydney")) as fake:
        started = gateway(fake.url, verifiers={"judge_engine": "main", "canary_rate": 1.0})
        async with httpx.AsyncClient(base_url=started.url) as client:
            before = (await client.get("/readyz")).json()
            for _ in range(80):
                trace = await trace_of(started, await ask(started, CAPITAL, verifiers=[judge]))
                verdict = trace["group"]["scored"][0]["verdicts"][0]
                if verdict["reason"] == "canary_passed":
                    break
            after = (await client.get("/readyz")).json()

    assert (verdict["status"], verdict["reason"]) == ("error", "canary_passed")
    assert (before["status"], before["checks"]["verifiers_out_of_use"]) == ("ok", 0)
    assert (after["status"], after["checks"]["verifiers_out_of_use"]) == ("degraded", 1)
