"""What a server is found to be, and what that costs."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from app.engines.probe import AGAIN_AFTER_S, Probe, read_models
from app.engines.upstream import Upstream
from app.errors import EngineError, EngineGarbage
from app.settings import EngineSettings
from tests.engines.drawing import begin, faked, take
from tests.fakes.upstream import (
    Behaviour,
    FakeUpstream,
    Request,
    Steps,
    always,
    error_reply,
    holding,
    in_turn,
    json_reply,
    model_list,
    scripted,
)


def like_vllm(processed: bool, token_ids: bool = True) -> Behaviour:
    """Answers one token; its leading logprob moves with temperature only when processed."""

    def answer(request: Request) -> Steps:
        mu = -1.0 * (request.body["temperature"] if processed else 1.0)
        top = [{"token": "a", "logprob": mu, "bytes": [97]}]
        entry = {"token": "b", "logprob": -3.0, "bytes": [98], "top_logprobs": top}
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "b"},
            "finish_reason": "length",
            "logprobs": {"content": [entry]},
            **({"token_ids": [5]} if token_ids else {}),
        }
        return json_reply({"id": "x", "choices": [choice]})

    return answer


@pytest.mark.parametrize("processed", [True, False])
async def test_vllm_is_asked_twice_for_one_token_to_see_its_logprobs(processed: bool) -> None:
    models = always(model_list("smol", owned_by="vllm"))
    async with faked(like_vllm(processed), models) as (fake, engine):
        known = await engine.capabilities()
        again = await engine.capabilities()

    assert known == again
    assert (known.server, known.n, known.token_ids, known.structured_output) == (
        "vllm",
        True,
        True,
        True,
    )
    assert known.processed_logprobs is processed
    assert [request.body.get("max_tokens") for request in fake.drawn] == [1, 1]


REFUSED = error_reply(400, "Field required", code=400)


@pytest.mark.parametrize(
    ("processed", "token_ids", "loading", "lacks"),
    [
        (True, True, REFUSED, []),
        (False, True, REFUSED, ["--logprobs-mode processed_logprobs"]),
        (True, False, REFUSED, ["token ids"]),
        (True, True, json_reply({"detail": "Not Found"}, 404), ["--enable-lora"]),
        (True, True, json_reply({"detail": "Method Not Allowed"}, 405), ["--enable-lora"]),
    ],
    ids=["nothing", "raw", "ids", "no-route", "no-method"],
)
async def test_what_a_vllm_lacks_for_training_is_named_with_the_fix(
    processed: bool, token_ids: bool, loading: Steps, lacks: list[str], caplog: Any
) -> None:
    models = always(model_list("smol", owned_by="vllm"))
    async with faked(like_vllm(processed, token_ids), models) as (fake, engine):
        fake.adapters = always(loading)
        known = await engine.capabilities()
        found = await engine.lacks()
        asked = [r.body for r in fake.requests if r.path.endswith("/load_lora_adapter")]

    assert len(found) == len(lacks)
    assert all(part in each for part, each in zip(lacks, found, strict=True))
    assert [record.args[1] for record in caplog.records] == list(found)
    assert known.adapters is (loading is REFUSED)
    assert asked == [{}]


async def test_a_server_that_is_another_one_now_is_asked_anew() -> None:
    async with (
        faked(scripted("4"), always(model_list("a", owned_by="llamacpp"))) as (_, engine),
        FakeUpstream(like_vllm(processed=True), always(model_list("b", owned_by="vllm"))) as other,
    ):
        before = await engine.capabilities()
        await engine.move_to(other.url, within_s=30)
        after = await engine.capabilities()
        other.models = always(error_reply(503, "away"))
        with pytest.raises(EngineError):
            await engine.move_to(other.url, within_s=30)
        lost = await engine.capabilities()

    assert [each.server for each in (before, after, lost)] == ["llama.cpp", "vllm", "openai"]


async def test_of_another_server_nothing_is_said() -> None:
    async with faked(scripted("4")) as (_, engine):
        assert await engine.lacks() == ()


async def test_llama_cpp_is_known_by_its_model_list() -> None:
    async with faked(scripted("4"), always(model_list("a", owned_by="llamacpp"))) as (fake, engine):
        known = await engine.capabilities()

    assert (known.server, known.n, known.processed_logprobs) == ("llama.cpp", True, False)
    assert (known.cache_salt, fake.drawn) == (False, [])


async def test_a_plain_server_is_learned_from_its_replies() -> None:
    async with faked(scripted("4", extras=True)) as (_, engine):
        before = await engine.capabilities()
        await take(begin(engine, 2))
        after = await engine.capabilities()

    assert (before.server, before.n, before.logprobs) == ("openai", False, False)
    assert (after.n, after.logprobs, after.token_ids) == (True, True, False)


async def test_an_adapter_in_the_list_shows_that_there_are_adapters() -> None:
    entries = [{"id": "base"}, {"id": "policy-1", "parent": "base"}]
    async with faked(scripted("4"), always(json_reply({"data": entries}))) as (_, engine):
        known = await engine.capabilities()

    assert known.adapters is True


async def test_a_server_that_cannot_be_asked_is_plain_and_asked_again_later() -> None:
    now = [100.0]
    models = in_turn(error_reply(503, "loading"), model_list("a", owned_by="llamacpp"))
    async with FakeUpstream(scripted("4"), models) as fake:
        upstream = Upstream(EngineSettings(base_url=fake.url), "main")
        probe = Probe(upstream, clock=lambda: now[0])
        first = (await probe.facts()).server
        second = (await probe.facts()).server
        now[0] += AGAIN_AFTER_S
        third = (await probe.facts()).server
        await upstream.close()

    assert (first, second, third) == ("openai", "openai", "llama.cpp")
    assert len(fake.requests) == 2


async def test_a_cancelled_draw_takes_its_probe_along() -> None:
    """pc-042: not one socket stays open, even when the model list is held too."""
    async with faked(scripted("4"), holding()) as (fake, engine):
        drawing = begin(engine, 8)
        waiting = asyncio.ensure_future(take(drawing))
        assert await fake.until(lambda: len(fake.requests) == 1)
        await drawing.cancel()
        closed = await fake.until(lambda: fake.open_sockets == 0, within_s=1.0)
        await waiting
        fake.models = always(model_list("m"))
        samples, _ = await take(begin(engine, 2))

    assert closed
    assert len(samples) == 2


@pytest.mark.parametrize(
    "listed", [None, [], {}, {"data": "x"}, {"data": [1]}, {"data": [{"id": 5}]}], ids=str
)
def test_a_model_list_without_models_is_garbage(listed: Any) -> None:
    with pytest.raises(EngineGarbage):
        read_models(listed)


def test_odd_fields_of_a_model_are_left_out() -> None:
    listed = orjson.loads(b'{"data": [{"id": "m", "created": "now", "max_model_len": 2048}]}')
    (model,) = read_models(listed)

    assert (model.created, model.owned_by, model.max_model_len) == (0, "", 2048)
