"""The engine in front of a real vLLM with a real model: what only a real server can show."""

from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import orjson
import pytest

from app.engines.fingerprint import CHAT, TEMPLATE_ARGUMENTS, digest_ids
from app.engines.openai import OpenAIEngine
from app.retrain.process import base_tokenizer
from app.sample import Origin, Sample
from app.task import Parameters
from tests.builders import a_plan, a_task
from tests.engines.drawing import an_engine, begin, take
from tests.vllm.conftest import FOLDER

pytestmark = pytest.mark.vllm

TASKS = [f"What is {a} + {b}? Answer with the number." for a in range(2, 7) for b in range(3, 7)]


@pytest.fixture
async def engine(vllm_url: str) -> AsyncIterator[OpenAIEngine]:
    async with an_engine(vllm_url) as engine:
        yield engine


def plan(**changes: Any) -> Any:
    return a_plan(**{"policy": "", "max_tokens": 16, **changes})


async def test_twenty_rounds_of_eight_are_trainable_and_each_is_one_call(
    engine: OpenAIEngine,
) -> None:
    """At T = 0.7: vLLM was started with processed logprobs, and the probe has found that out."""
    samples: list[Sample] = []
    for prompt in TASKS:
        drawing = begin(engine, 8, task=a_task(prompt), plan=plan())
        drawn, error = await take(drawing)
        assert error is None
        assert [(call.n, call.error) for call in drawing.calls] == [(8, "")]
        assert drawing.calls[0].prompt_tokens == len(drawing.calls[0].prompt_token_ids or ())
        samples += drawn
    known = await engine.capabilities()

    assert (known.server, known.processed_logprobs, known.n) == ("vllm", True, True)
    assert len(samples) == 8 * len(TASKS) == 160
    for sample in samples:
        assert (sample.trainable, sample.not_trainable) == (True, ""), sample
        assert len(sample.token_ids or ()) == len(sample.logprobs or ()) > 0
        assert sample.completion_tokens == len(sample.token_ids or ()) <= 16
        assert all(math.isfinite(mu) and mu <= 0 for mu in sample.logprobs or ())
    assert len({sample.text for sample in samples}) > len(TASKS)


async def test_calls_say_where_they_come_from_as_the_models_folder_does(
    engine: OpenAIEngine,
) -> None:
    """Version 0.32 answers beside `/v1`; the trainer gets the same digest from the folder."""
    transformers = pytest.importorskip("transformers")
    drawing = begin(engine, 1, plan=plan())
    await take(drawing)
    origin = drawing.calls[0].origin
    folder = transformers.AutoTokenizer.from_pretrained(FOLDER / "model", local_files_only=True)
    chat = folder.apply_chat_template(
        list(CHAT), add_generation_prompt=True, return_dict=False, **TEMPLATE_ARGUMENTS
    )

    assert origin == Origin(
        server_version=origin.server_version if origin else None,
        tokenizer_digest=await base_tokenizer(FOLDER / "model", sys.executable),
        chat_template_digest=digest_ids(chat),
    )
    assert re.fullmatch(r"vllm \d+\.\d+\.\d+\S*", origin.server_version or "")


async def test_streamed_and_whole_replies_give_the_same_sample(engine: OpenAIEngine) -> None:
    deltas: list[Any] = []
    (whole,), _ = await take(begin(engine, 1, plan=plan()))
    (live,), _ = await take(begin(engine, 1, plan=plan(), on_delta=deltas.append))

    assert live.text == whole.text == "".join(delta.content for delta in deltas)
    assert (live.token_ids, live.finish_reason) == (whole.token_ids, whole.finish_reason)
    assert live.logprobs == pytest.approx(whole.logprobs, abs=0.05)
    assert live.completion_tokens == whole.completion_tokens


async def test_a_seed_repeats_its_round_and_another_one_does_not(engine: OpenAIEngine) -> None:
    async def texts(seed: int) -> list[str]:
        samples, _ = await take(begin(engine, 4, plan=plan(), seed=seed))
        return [sample.text for sample in sorted(samples, key=lambda s: s.index)]

    first = await texts(5)

    assert await texts(5) == first
    assert await texts(500) != first
    assert len(set(first)) > 1


async def test_cancel_stops_the_generation_on_the_servers_side(
    engine: OpenAIEngine, vllm_url: str
) -> None:
    task = a_task("Tell a long story.", parameters=Parameters(extra={"ignore_eos": True}))
    drawing = begin(engine, 8, task=task, plan=plan(max_tokens=1800))
    waiting = asyncio.ensure_future(take(drawing))
    assert await until(vllm_url, lambda found: found["running"] == 8)
    left = await drawing.cancel()
    assert await until(vllm_url, lambda found: found["running"] == 0)
    stopped = await metrics(vllm_url)
    await asyncio.sleep(1.0)
    later = await metrics(vllm_url)
    await waiting

    assert later["generated"] == stopped["generated"]
    assert {sample.cancelled for sample in left} <= {True}
    assert sum(sample.completion_tokens for sample in left) <= stopped["generated"]


async def test_a_schema_shapes_the_answer_and_bars_it_from_training(engine: OpenAIEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"larger": {"enum": ["first", "second"]}},
        "required": ["larger"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "larger", "schema": schema}}
    task = a_task("Which is larger, 3 or 5?", response_format=shape)
    samples, error = await take(begin(engine, 2, task=task, plan=plan(max_tokens=64)))
    ended = [sample for sample in samples if sample.finish_reason == "stop"]

    assert error is None
    assert ended
    assert all(orjson.loads(s.text)["larger"] in ("first", "second") for s in ended)
    assert {s.not_trainable for s in samples} == {"constrained_decoding"}


async def test_a_refusal_of_the_server_names_its_field(engine: OpenAIEngine) -> None:
    samples, error = await take(begin(engine, 2, plan=plan(max_tokens=10**6)))

    assert samples == []
    assert error is not None
    assert error.http_status == 400
    assert "max_tokens" in f"{error.param} {error.message}"


async def test_an_unknown_model_is_not_found(engine: OpenAIEngine) -> None:
    _, error = await take(begin(engine, 2, plan=plan(policy="policy-99")))

    assert error is not None
    assert (error.http_status, error.error_code) == (404, "model_not_found")


async def metrics(url: str) -> dict[str, float]:
    """Requests running and tokens generated so far, as the server itself counts them."""
    async with httpx.AsyncClient() as client:
        page = (await client.get(url.removesuffix("/v1") + "/metrics")).text

    def total(name: str) -> float:
        return sum(float(v) for v in re.findall(rf"^{name}{{.*}} (\S+)$", page, re.MULTILINE))

    return {
        "running": total("vllm:num_requests_running"),
        "generated": total("vllm:generation_tokens_total"),
    }


async def until(url: str, is_so: Callable[[dict[str, float]], bool], within_s: float = 30) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if is_so(await metrics(url)):
            return True
        await asyncio.sleep(0.1)
    return False
