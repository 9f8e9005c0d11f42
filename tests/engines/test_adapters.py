"""Adapters on the replicas of one vLLM, which answer as its version 0.32 was measured to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from app.engines.openai import OpenAIEngine
from app.errors import EngineError
from app.settings import EngineSettings
from tests.builders import a_plan, a_task
from tests.engines.drawing import an_engine, begin, take
from tests.fakes.replica import Replica
from tests.fakes.upstream import FakeUpstream, json_reply, scripted


@pytest.fixture
async def two() -> AsyncIterator[tuple[OpenAIEngine, Replica, Replica]]:
    """An engine in front of two replicas, the first of which also answers."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(FakeUpstream(scripted("4"))) for _ in range(2)]
        first, second = map(Replica, fakes)
        replicas = tuple(fake.url for fake in fakes)
        engine = await stack.enter_async_context(an_engine(fakes[0], replicas=replicas))
        yield engine, first, second


async def test_an_adapter_is_loaded_into_every_replica_and_then_listed(two: Any) -> None:
    engine, first, second = two
    before = await engine.policies()
    await engine.load_policy("policy-1", Path("/adapters/policy-1"))

    assert before == ()
    assert first.loaded == second.loaded == {"policy-1": "/adapters/policy-1"}
    assert await engine.policies() == ("policy-1",)
    assert "policy-1" in [model.id for model in await engine.models()]
    assert await engine.model_for("policy-1") == "policy-1"


async def test_what_is_loaded_is_not_loaded_again(two: Any) -> None:
    engine, first, second = two
    for _ in range(2):
        await engine.load_policy("policy-1", Path("/adapters/policy-1"))

    assert (first.changes, second.changes) == (["policy-1"], ["policy-1"])


async def test_a_name_is_never_used_for_other_weights(two: Any) -> None:
    engine, first, _ = two
    await engine.load_policy("policy-1", Path("/adapters/policy-1"))
    with pytest.raises(EngineError, match="a name is never used for other weights"):
        await engine.load_policy("policy-1", Path("/adapters/other"))

    assert first.loaded == {"policy-1": "/adapters/policy-1"}


async def test_only_what_all_replicas_serve_is_served_and_a_second_try_mends_it(two: Any) -> None:
    engine, first, second = two
    second.missing.add("/adapters/policy-1")
    with pytest.raises(EngineError, match="No adapter found") as failed:
        await engine.load_policy("policy-1", Path("/adapters/policy-1"))
    meanwhile = await engine.policies()
    second.missing.clear()
    await engine.load_policy("policy-1", Path("/adapters/policy-1"))

    assert second.fake.url in failed.value.message
    assert meanwhile == ()
    assert first.changes == ["policy-1"]
    assert await engine.policies() == ("policy-1",)


async def test_an_adapter_is_unloaded_once_and_what_is_gone_is_gone(two: Any) -> None:
    engine, first, second = two
    await engine.load_policy("policy-1", Path("/adapters/policy-1"))
    for _ in range(2):
        await engine.unload_policy("policy-1")

    assert first.loaded == second.loaded == {}
    assert first.changes == ["policy-1", "policy-1"]
    assert await engine.policies() == ()
    assert "policy-1" not in [model.id for model in await engine.models()]


async def test_a_server_that_loads_none_is_told_how_to_start(two: Any) -> None:
    engine, first, second = two
    for replica in (first, second):
        replica.fake.adapters = lambda request: json_reply({"detail": "Not Found"}, 404)
    with pytest.raises(EngineError, match="--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"):
        await engine.load_policy("policy-1", Path("/adapters/policy-1"))


async def test_a_replica_that_is_away_is_named(two: Any) -> None:
    _, first, _ = two
    away = "http://127.0.0.1:9/v1"
    async with an_engine(first.fake, replicas=(first.fake.url, away)) as engine:
        with pytest.raises(EngineError, match=away):
            await engine.load_policy("policy-1", Path("/adapters/policy-1"))
        with pytest.raises(EngineError, match=away):
            await engine.policies()


async def test_each_policy_and_tenant_has_a_prefix_cache_of_its_own(two: Any) -> None:
    engine, first, _ = two
    for tenant, policy in (("a", "smol"), ("a", "policy-1"), ("b", "smol"), ("a", "smol")):
        task, plan = a_task("2 + 2?", tenant=tenant), a_plan(policy=policy)
        await take(begin(engine, 1, task=task, plan=plan))
    drawn = [r.body for r in first.fake.drawn if "cache_salt" in r.body]
    salts = [body["cache_salt"] for body in drawn]

    assert len(salts) == 4
    assert len(set(salts)) == 3
    assert salts[0] == salts[3]


def test_replicas_are_addresses() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        EngineSettings(base_url="http://a/v1", replicas=("b:8000",))
