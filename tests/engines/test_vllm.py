"""The engine that runs its own vLLM: how it is started, asked, and reached by nobody else.

The server is a fake that is started, supervised and ended by the real code; a real one is asked in
tests/vllm.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.engines.vllm import (
    Interpreter,
    VLLMEngine,
    command_of,
    environment_of,
    find_interpreter,
    find_model,
    served_name,
)
from app.errors import ConfigError, EngineError, EngineStarting, EngineUnavailable
from app.settings import EngineSettings
from tests.builders import a_plan
from tests.engines.drawing import begin, take
from tests.engines.test_supervisor import patience
from tests.fakes.vllm import FakeVLLM
from verifiers.base import Decides

LIMIT_S = 30.0
GPU = Interpreter(python=Path("/opt/vllm/bin/python"), version="0.32.0", is_cpu=False)
CPU = Interpreter(python=Path("/opt/vllm/bin/python"), version="0.32.0", is_cpu=True)


@pytest.fixture
def fake(tmp_path: Path) -> FakeVLLM:
    return FakeVLLM(tmp_path)


def settings(**changes: Any) -> EngineSettings:
    return EngineSettings(**{"kind": "vllm", "model": "org/tiny", **changes})


@asynccontextmanager
async def running(fake: FakeVLLM, **changes: float) -> AsyncIterator[VLLMEngine]:
    """An engine of its own on the fake, which is started and not yet ready."""
    given = settings(model=fake.model, python=fake.python, retries=0)
    engine = VLLMEngine(given, "main", fake.folder / "data", patience=patience(**changes))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def until(engine: VLLMEngine, state: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while engine.server_state().state != state:  # noqa: ASYNC110 - another process comes up
            await asyncio.sleep(0.01)


async def killed(engine: VLLMEngine) -> None:
    """Kill its server and wait until there is another."""
    before = engine.server_state().restarts
    os.kill(engine.supervisor.pid, signal.SIGKILL)
    async with asyncio.timeout(LIMIT_S):
        while engine.server_state().restarts == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await until(engine, "ready")


async def test_it_draws_what_may_be_trained_on_under_the_models_own_name(fake: FakeVLLM) -> None:
    async with running(fake) as engine:
        await until(engine, "ready")
        drawn, error = await take(begin(engine, 2, plan=a_plan(policy="", temperature=0.7)))
        known = await engine.capabilities()
        named = await engine.model_for("auto")

    assert error is None
    assert [(sample.text, sample.trainable) for sample in drawn] == [("4", True)] * 2
    assert (known.server, known.processed_logprobs, known.adapters) == ("vllm", True, True)
    assert named == "tiny"


async def test_while_it_starts_requests_are_told_to_come_back(fake: FakeVLLM) -> None:
    fake.order("slow")
    async with running(fake) as engine:
        with pytest.raises(EngineStarting) as told:
            begin(engine)
        with pytest.raises(EngineStarting):
            await engine.ask([], schema={}, max_tokens=1)
        with pytest.raises(EngineStarting):
            await engine.load_policy("policy-1", fake.adapter("policy-1"))
        named, up = await engine.model_for("auto"), await engine.is_up()

    assert (told.value.http_status, told.value.error_code) == (503, "upstream_starting")
    assert told.value.retry_after_s == 5
    assert (named, up) == ("tiny", False)
    assert isinstance(engine.ask, Decides)


async def test_once_it_has_failed_requests_are_told_why(fake: FakeVLLM) -> None:
    fake.order("crash")
    async with running(fake) as engine:
        await until(engine, "failed")
        with pytest.raises(EngineUnavailable, match="ValueError: no memory for the cache") as told:
            begin(engine)

    assert told.value.http_status == 502


async def test_adapters_are_loaded_served_and_loaded_again_after_a_crash(fake: FakeVLLM) -> None:
    async with running(fake) as engine:
        await until(engine, "ready")
        for name in ("policy-1", "policy-2"):
            await engine.load_policy(name, fake.adapter(name))
        await engine.unload_policy("policy-1")
        await killed(engine)
        served = await engine.policies()
        drawn, error = await take(begin(engine, plan=a_plan(policy="policy-2")))

    assert served == ("policy-2",)
    assert error is None
    assert drawn[0].model == "policy-2"


async def test_an_adapter_that_is_gone_does_not_keep_the_server_down(
    fake: FakeVLLM, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(fake) as engine:
        await until(engine, "ready")
        folder = fake.adapter("policy-1")
        with pytest.raises(EngineError, match="there is no adapter in"):
            await engine.load_policy("policy-2", fake.folder / "none")
        await engine.load_policy("policy-1", folder)
        (fake.folder / "adapters_are_lost").touch()
        await killed(engine)
        served = await engine.policies()

    assert served == ()
    assert "did not load 'policy-1'" in caplog.text


async def test_nobody_without_the_gateways_key_can_ask_its_server(fake: FakeVLLM) -> None:
    async with running(fake) as engine:
        await until(engine, "ready")
    key = fake.launches[0]["environ"]["VLLM_API_KEY"]

    assert len(key) >= 24
    assert key not in " ".join(fake.launches[0]["argv"])
    assert not (fake.folder / "data/vllm.log").read_text().count(key)


async def test_without_a_vllm_it_says_how_to_get_one(tmp_path: Path) -> None:
    engine = VLLMEngine(settings(python=sys.executable), "main", tmp_path)
    with pytest.raises(ConfigError) as told:
        await engine.start()
    await engine.close()

    assert f"there is no vLLM in {sys.executable}" in told.value.message
    assert "-m pip install 'vllm>=0.32'" in told.value.message
    assert "VERIVOTE__ENGINES__MAIN__PYTHON" in told.value.message


def test_a_python_that_is_none_is_named_with_its_key(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    for python, why in (("/no/such", "cannot be run"), (str(broken), "is not a Python that works")):
        with pytest.raises(ConfigError, match=f"engines.big.python: '{python}' {why}"):
            find_interpreter(python, "big")


def test_the_build_for_cpus_is_told_by_its_name(fake: FakeVLLM) -> None:
    found = find_interpreter(fake.python, "main")

    assert (found.version, found.is_cpu) == ("0.32.0", True)


def test_it_is_started_with_what_training_needs() -> None:
    command = command_of(settings(), GPU, "org/tiny", 8001)

    assert command[:3] == ["/opt/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    for pair in (
        ("--model", "org/tiny"),
        ("--served-model-name", "org/tiny"),
        ("--host", "127.0.0.1"),
        ("--port", "8001"),
        ("--logprobs-mode", "processed_logprobs"),
        ("--max-lora-rank", "32"),
        ("--max-loras", "3"),
        ("--max-cpu-loras", "6"),
    ):
        assert command[command.index(pair[0]) + 1] == pair[1]
    assert {"--enable-lora", "--enable-prefix-caching"} <= set(command)
    of_cpus = {"--enforce-eager", "--no-enable-chunked-prefill"}
    assert not {*of_cpus, "--max-model-len", "--tensor-parallel-size"} & set(command)


def test_settings_become_arguments_and_further_ones_come_last() -> None:
    given = settings(
        max_model_len=4096,
        tensor_parallel=2,
        data_parallel=4,
        max_lora_rank=64,
        args=("--seed", "7", "--max-lora-rank", "128"),
    )
    command = " ".join(command_of(given, CPU, "/models/tiny", 8001))

    assert "--max-model-len 4096 --tensor-parallel-size 2 --data-parallel-size 4" in command
    assert "--served-model-name tiny" in command
    assert "--enforce-eager --no-enable-chunked-prefill" in command
    assert command.endswith("--seed 7 --max-lora-rank 128")


def test_its_environment_is_the_gateways_without_what_would_open_it() -> None:
    environ = {
        "PATH": "/usr/bin",
        "HF_TOKEN": "t",
        "VERIVOTE__CACHE__HMAC_KEY": "secret",
        "VLLM_SERVER_DEV_MODE": "1",
        "PYTHONHOME": "/elsewhere",
        "VLLM_API_KEY": "another",
        "VLLM_NO_USAGE_STATS": "0",
    }
    found = environment_of(settings(), GPU, "org/tiny", "key", environ)

    assert found == {
        "PATH": "/opt/vllm/bin:/usr/bin",
        "HF_TOKEN": "t",
        "VLLM_API_KEY": "key",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "0",
    }


def test_on_cpus_all_processors_are_used_unless_the_operator_says_otherwise() -> None:
    own = environment_of(settings(), CPU, "/models/tiny", "key", {})
    said = environment_of(settings(), CPU, "/m", "key", {"VLLM_CPU_OMP_THREADS_BIND": "0"})
    two = environment_of(settings(tensor_parallel=2), CPU, "/m", "key", {})

    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    assert own["VLLM_CPU_OMP_THREADS_BIND"] == cpus
    assert (own["VLLM_CPU_KVCACHE_SPACE"], own["HF_HUB_OFFLINE"]) == ("2", "1")
    assert said["VLLM_CPU_OMP_THREADS_BIND"] == "0"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in two


def test_a_model_is_a_name_or_a_folder_with_its_files(
    fake: FakeVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fake.folder)

    assert find_model("org/tiny", "main") == "org/tiny"
    assert find_model(fake.model, "main") == fake.model == find_model("tiny", "main")
    assert served_name(fake.model) == "tiny"
    for wrong in ("/no/such", "./bin", "~no-such/x"):
        with pytest.raises(ConfigError, match="is no folder with a model's files"):
            find_model(wrong, "main")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"model": ""}, "'model' is missing"),
        ({"base_url": "http://h/v1"}, "'base_url' is for a server at an address"),
        ({"replicas": ("http://h/v1",)}, "'replicas' is for a server at an address"),
        ({"max_lora_rank": 20}, "must be one of 1, 8, 16"),
        ({"max_loras": 9}, "'max_cpu_loras' must be at least 'max_loras'"),
        ({"kind": "openai", "tensor_parallel": 2}, "'tensor_parallel' is for kind = \"vllm\""),
        ({"kind": "embedded", "args": ("--x",)}, "'args' is for kind = \"vllm\""),
    ],
)
def test_settings_that_cannot_be_meant_name_their_key(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        settings(**given)
