"""The engine for OpenAI-compatible servers: what it asks for, and whom it asks."""

from __future__ import annotations

import itertools
import os

import pytest

from app.engines.openai import OpenAIEngine
from app.errors import EngineUnavailable
from app.settings import EngineSettings
from app.task import Parameters
from tests.builders import a_plan, a_task
from tests.engines.drawing import VLLM, begin, faked, take
from tests.fakes.upstream import (
    FakeUpstream,
    Steps,
    always,
    error_reply,
    in_turn,
    model_list,
    refusing,
    scripted,
)


async def test_a_round_is_one_call_of_n_where_the_server_gives_n() -> None:
    async with faked(scripted("4", "5", "4")) as (fake, engine):
        drawing = begin(engine, 3)
        samples, error = await take(drawing)

    assert error is None
    assert [s.text for s in sorted(samples, key=lambda s: s.index)] == ["4", "5", "4"]
    assert [request.body["n"] for request in fake.drawn] == [3]
    assert [(call.n, call.prompt_tokens, call.error) for call in drawing.calls] == [(3, 7, "")]


async def test_a_server_that_ignores_n_is_filled_up_by_parallel_calls_and_remembered() -> None:
    """pc-005: HTTP 200 with exactly one choice whatever `n` says."""
    async with faked(scripted("Canberra", ignores_n=True)) as (fake, engine):
        drawing = begin(engine, 5)
        samples, error = await take(drawing)
        first_round = len(fake.drawn)
        await take(begin(engine, 2, round=2, first_index=5))
        known = await engine.capabilities()

    assert error is None
    assert sorted(s.index for s in samples) == [0, 1, 2, 3, 4]
    assert len({s.call for s in samples}) == len(drawing.calls) == first_round == 5
    assert sum(s.completion_tokens for s in samples) == 5
    assert ["n" in request.body for request in fake.drawn] == [True] + [False] * 6
    assert known.n is False


async def test_a_server_that_refuses_n_is_asked_in_parallel() -> None:
    async with faked(refusing("n", otherwise=scripted("4"))) as (fake, engine):
        samples, error = await take(begin(engine, 3))

    assert error is None
    assert len(samples) == 3
    assert len(fake.drawn) == 4


async def test_parallel_calls_carry_different_seeds_and_a_round_repeats_its_own() -> None:
    async with faked(scripted("4", ignores_n=True)) as (fake, engine):
        await take(begin(engine, 3, seed=2**63 - 1))
        await take(begin(engine, 3, seed=2**63 - 1))
    seeds = sorted(request.body["seed"] for request in fake.drawn)

    assert seeds == sorted([2**63 - 1, 0, 1] * 2)


@pytest.mark.parametrize(
    "field", ["logprobs", "seed", "return_token_ids", "cache_salt", "stream_options", "top_k"]
)
async def test_a_server_that_refuses_an_optional_field_works_without_it(field: str) -> None:
    behaviour = refusing(field, otherwise=scripted("4", "4"))
    async with faked(behaviour, VLLM) as (fake, engine):
        await engine.capabilities()
        fake.requests.clear()
        samples, error = await take(begin(engine, 2, plan=a_plan(temperature=1)))
        first_round = len(fake.drawn)
        await take(begin(engine, 2, plan=a_plan(temperature=1)))

    assert (error, len(samples)) == (None, 2)
    assert (first_round, len(fake.drawn)) == (2, 3)


async def test_a_law_that_the_server_would_not_take_bars_its_samples_from_training() -> None:
    behaviour = refusing("top_k", otherwise=scripted("4", extras=True))
    async with faked(behaviour, VLLM) as (_, engine):
        rounds = [await take(begin(engine, 2, plan=a_plan(temperature=1))) for _ in range(2)]
    plain = refusing("nothing", otherwise=scripted("4", extras=True))
    async with faked(plain, VLLM) as (fake, engine):
        samples, _ = await take(begin(engine, 2, plan=a_plan(temperature=1)))

    assert {s.not_trainable for drawn, _ in rounds for s in drawn} == {"server_defaults"}
    assert all(sample.trainable for sample in samples)
    assert (fake.drawn[-1].body["top_k"], fake.drawn[-1].body["top_p"]) == (0, 1.0)


async def test_a_server_that_only_knows_max_completion_tokens_gets_that() -> None:
    refusal = error_reply(
        400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    )
    async with faked(in_turn(refusal, scripted("4"))) as (fake, engine):
        samples, error = await take(begin(engine, plan=a_plan(max_tokens=9)))

    assert (error, len(samples)) == (None, 1)
    assert fake.drawn[1].body["max_completion_tokens"] == 9
    assert "max_tokens" not in fake.drawn[1].body


async def test_a_field_that_the_client_asked_for_is_not_dropped() -> None:
    task = a_task(parameters=Parameters(logprobs=True))
    async with faked(refusing("logprobs", otherwise=scripted("4"))) as (_, engine):
        samples, error = await take(begin(engine, task=task))

    assert samples == []
    assert (error.http_status, error.param) == (400, "logprobs")  # type: ignore[union-attr]


async def test_vllm_is_asked_for_token_ids_and_a_salt_of_the_tenant() -> None:
    async with faked(scripted("4 5", "6", extras=True), VLLM) as (fake, engine):
        await engine.capabilities()
        drawing = begin(engine, 2)
        samples, _ = await take(drawing)
        other = begin(engine, 2, task=a_task(tenant="other"))
        await take(other)
    asked = [request.body for request in fake.drawn[-2:]]

    assert {len(s.token_ids or ()) for s in samples} == {1, 2}
    assert all(s.logprobs == (-0.5,) * s.completion_tokens for s in samples)
    assert drawing.calls[0].prompt_token_ids == tuple(range(7))
    assert asked[0]["return_token_ids"] is True
    assert asked[0]["cache_salt"] != asked[1]["cache_salt"]
    assert "local" not in asked[0]["cache_salt"]


async def test_a_plain_server_is_not_sent_fields_that_only_vllm_knows() -> None:
    async with faked(scripted("4")) as (fake, engine):
        await take(begin(engine, 2))

    assert not {"return_token_ids", "cache_salt", "top_k"} & set(fake.drawn[0].body)


@pytest.mark.parametrize(
    ("policy", "configured", "alias", "expected"),
    [
        ("policy-3", "big", "small", "policy-3"),
        ("", "big", "small", "small"),
        ("", "big", "auto", "big"),
        ("", "", "auto", "first"),
    ],
)
async def test_the_model_is_the_plans_else_the_alias_else_the_configured_else_the_first(
    policy: str, configured: str, alias: str, expected: str
) -> None:
    models = always(model_list("first", "small"))
    async with faked(scripted("4"), models, model=configured) as (fake, engine):
        await take(begin(engine, task=a_task(alias=alias), plan=a_plan(policy=policy)))

    assert fake.drawn[0].body["model"] == expected


async def test_what_the_client_asked_for_is_sent_on() -> None:
    wanted = Parameters(
        stop=("\n",),
        presence_penalty=0.5,
        logit_bias={"5": 1.0},
        top_logprobs=2,
        logprobs=True,
        extra={"top_k": 3},
    )
    task = a_task(
        parameters=wanted,
        tools=({"type": "function", "function": {"name": "f"}},),
        tool_choice="auto",
        response_format={"type": "json_object"},
    )
    async with faked(scripted("4")) as (fake, engine):
        await take(begin(engine, task=task, plan=a_plan(temperature=0.3, top_p=0.9)))
    sent = fake.drawn[0].body

    assert sent["stop"] == ["\n"]
    assert (sent["temperature"], sent["top_p"], sent["top_k"]) == (0.3, 0.9, 3)
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["tools"][0]["function"]["name"] == "f"


async def test_a_key_is_read_from_the_environment() -> None:
    async with faked(scripted("4"), api_key="env:PATH") as (fake, engine):
        await take(begin(engine))

    assert fake.drawn[0].headers["authorization"] == f"Bearer {os.environ['PATH']}"


async def test_a_key_that_is_not_in_the_environment_is_named() -> None:
    async with faked(scripted("4"), api_key="env:VERIVOTE_NOT_SET") as (fake, engine):
        _, error = await take(begin(engine))

    assert error is not None
    assert "VERIVOTE_NOT_SET" in error.message
    assert "engines.main.api_key" in error.message
    assert fake.requests == []


async def test_an_engine_that_was_closed_is_not_up_and_cannot_draw() -> None:
    async with faked(scripted("4")) as (_, engine):
        await take(begin(engine))
        await engine.close()
        _, error = await take(begin(engine))
        is_up = await engine.is_up()

    assert isinstance(error, EngineUnavailable)
    assert is_up is False


async def test_models_are_the_servers() -> None:
    async with faked(scripted("4"), always(model_list("a/b:1", "c"))) as (_, engine):
        models = await engine.models()

    assert [(model.id, model.owned_by) for model in models] == [("a/b:1", "fake"), ("c", "fake")]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (model_list("m"), True),
        (error_reply(404, "no list"), True),
        (error_reply(503, "loading"), False),
        (error_reply(401, "key"), False),
    ],
)
async def test_is_up_means_that_the_server_answers(steps: Steps, expected: bool) -> None:
    async with faked(scripted("4"), always(steps)) as (fake, engine):
        is_up = await engine.is_up()

    assert is_up is expected
    assert fake.drawn == []


async def test_a_draw_costs_one_probe_and_later_ones_none() -> None:
    async with faked(scripted("4")) as (fake, engine):
        await take(begin(engine))
        await take(begin(engine))

    assert [request.method for request in fake.requests] == ["GET", "POST", "POST"]


async def test_samples_know_where_and_when_they_came_from() -> None:
    ticks = itertools.count()
    async with FakeUpstream(scripted("4")) as fake:
        engine = OpenAIEngine(
            EngineSettings(base_url=fake.url), "main", clock=lambda: float(next(ticks))
        )
        drawing = begin(engine, 2, task=a_task(received_at=0.0), round=3, first_index=5, seed=9)
        samples, _ = await take(drawing)
        await engine.close()
    sample = samples[0]

    assert sorted(s.index for s in samples) == [5, 6]
    assert (sample.round, sample.call, sample.choice, sample.seed) == (3, 5, 0, 9)
    assert 0 <= sample.started_ms < (sample.first_token_ms or 0) <= sample.finished_ms
    assert drawing.calls[0].finished_ms >= sample.finished_ms
