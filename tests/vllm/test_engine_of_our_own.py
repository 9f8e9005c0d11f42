"""`serve --model` with a real vLLM: asked by the openai client, and taught adapters by the engine.

Three launches in all, each about half a minute on two cores.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
import pytest_asyncio

from app.engines.vllm import VLLMEngine
from app.errors import EngineError
from app.group import Group
from app.sample import Sample
from app.settings import EngineSettings
from tests.builders import a_plan, a_task
from tests.cli.command import serving, verivote
from tests.engines.drawing import begin, take
from tests.fakes.vllm import is_alive, wait_until
from tests.parts import require
from tests.vllm.adapter import write_adapter
from tests.vllm.conftest import FOLDER
from tests.vllm.server import READY_S, is_set_up

pytestmark = pytest.mark.vllm
in_one_loop = pytest.mark.asyncio(loop_scope="module")

ASK = [{"role": "user", "content": "What is 2 + 3? Answer with the number."}]
OURS: dict[str, Any] = {
    "python": str(FOLDER / "venv/bin/python"),
    "max_model_len": 2048,
    "max_lora_rank": 16,
    "start_s": READY_S,
}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    require(is_set_up(FOLDER), "there is no vLLM in .build/vllm: python tests/vllm/setup_vllm.py")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VLLMEngine]:
    settings = EngineSettings(kind="vllm", model=str(FOLDER / "model"), **OURS)
    engine = VLLMEngine(settings, "main", tmp_path_factory.mktemp("engine"))
    await engine.start()
    try:
        await until_ready(engine)
        yield engine
    finally:
        await engine.close()


async def until_ready(engine: VLLMEngine, restarts: int = 0) -> None:
    async with asyncio.timeout(READY_S):
        while (now := engine.server_state()).state != "ready" or now.restarts < restarts:
            assert now.state != "failed", now.why
            await asyncio.sleep(0.2)


async def greedy(engine: VLLMEngine, policy: str) -> Sample:
    plan = a_plan(policy=policy, temperature=0.0, max_tokens=16)
    samples, error = await take(begin(engine, 1, task=a_task(ASK[0]["content"]), plan=plan))
    assert error is None, error
    return samples[0]


def test_serve_model_answers_the_openai_client_with_logprobs_for_training(tmp_path: Path) -> None:
    variables = {f"VERIVOTE__ENGINES__MAIN__{key.upper()}": str(v) for key, v in OURS.items()}
    arguments = ("--model", str(FOLDER / "model"), "--port", "0", "--data", str(tmp_path))
    with serving(*arguments, **variables) as (process, line):
        url = re.search(r"serves (http://\S+)/v1", line)[1]
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120)
        with pytest.raises(openai.APIStatusError) as early:
            client.chat.completions.create(model="auto", messages=ASK)
        assert wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, READY_S)
        drawn = client.chat.completions.create(
            model="auto",
            messages=ASK,
            n=8,
            temperature=0.7,
            max_tokens=16,
            extra_body={"verify": {"mode": "off"}},
        )
        voted = client.chat.completions.create(
            model="auto", messages=ASK, max_tokens=16, extra_body={"verify": {"mode": "always"}}
        )
        models = [model.id for model in client.models.list()]
        trace = httpx.get(f"{url}/v1/traces/{drawn.id}").json()["group"]
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    group = Group.from_json(orjson.dumps(trace))

    assert (early.value.status_code, early.value.code) == (503, "upstream_starting")
    assert len(drawn.choices) == 8
    assert [call.n for call in group.calls] == [8]
    for scored in group.scored:
        assert scored.sample.trainable, scored.sample.not_trainable
        assert len(scored.sample.token_ids) == len(scored.sample.logprobs) > 0
        assert all(math.isfinite(mu) and mu <= 0 for mu in scored.sample.logprobs)
    assert voted.model_extra["verification"]["samples"] >= 3
    assert "model" in models
    assert status == 0


@in_one_loop
async def test_a_policy_is_loaded_served_by_its_name_and_unloaded(
    engine: VLLMEngine, tmp_path: Path
) -> None:
    base = await greedy(engine, "model")
    await engine.load_policy("policy-1", write_adapter(tmp_path / "zero", size=0.0))
    await engine.load_policy("policy-2", write_adapter(tmp_path / "felt", size=0.5))
    served = await engine.policies()
    same, other = await greedy(engine, "policy-1"), await greedy(engine, "policy-2")
    await engine.unload_policy("policy-2")
    with pytest.raises(AssertionError, match="does not exist"):
        await greedy(engine, "policy-2")

    assert served == ("policy-1", "policy-2")
    assert (same.model, other.model) == ("policy-1", "policy-2")
    assert same.token_ids == base.token_ids
    assert other.token_ids != base.token_ids
    assert (await engine.capabilities()).adapters is True
    assert await engine.policies() == ("policy-1",)


@in_one_loop
async def test_seeded_prompts_of_several_batches_at_once_do_not_bring_it_down(
    engine: VLLMEngine,
) -> None:
    """Together they are more tokens than one batch takes, so one would be read in two parts."""

    async def ask(number: int) -> Sample:
        task = a_task(f"{number}: " + "What is 2 + 3? " * 20)
        plan = a_plan(policy="model", temperature=0.7, max_tokens=4)
        samples, error = await take(begin(engine, 1, task=task, plan=plan))
        assert error is None, error
        return samples[0]

    before = engine.server_state().restarts
    samples = await asyncio.gather(*(ask(number) for number in range(40)))

    assert all(sample.token_ids for sample in samples)
    assert engine.server_state().restarts == before


@in_one_loop
async def test_what_vllm_will_not_load_is_refused_in_its_own_words(
    engine: VLLMEngine, tmp_path: Path
) -> None:
    broken = write_adapter(tmp_path / "broken", size=0.0)
    (broken / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(EngineError, match="did not load 'policy-3' from"):
        await engine.load_policy("policy-3", broken)
    with pytest.raises(EngineError, match="a name is never used for other weights"):
        await engine.load_policy("policy-1", broken)

    assert "policy-3" not in await engine.policies()


@in_one_loop
async def test_after_kill_9_it_comes_back_with_its_policies(engine: VLLMEngine) -> None:
    before = engine.supervisor.pid
    os.kill(before, signal.SIGKILL)
    await until_ready(engine, restarts=1)
    again = await greedy(engine, "policy-1")

    assert engine.supervisor.pid != before
    assert not is_alive(before)
    assert await engine.policies() == ("policy-1",)
    assert again.token_ids == (await greedy(engine, "model")).token_ids
    assert "was killed by signal 9" in engine.server_state().why


def test_doctor_finds_it() -> None:
    done = verivote(
        "doctor",
        VERIVOTE__ENGINES__MAIN__KIND="vllm",
        VERIVOTE__ENGINES__MAIN__MODEL=str(FOLDER / "model"),
        VERIVOTE__ENGINES__MAIN__PYTHON=OURS["python"],
    )

    assert "engine main  vLLM for CPUs 0.32.0 in" in done.stdout
