"""A container for every job: `docker run` with nothing but the job on stdin.

The image is the product's own, or any other in which the package is installed; inside, the local
sandbox runs the job (`serve.py`), with the same self-test, so the container is a second wall. Where
`docker` reaches another machine (DOCKER_HOST), the code of models runs there. Every job pays for
the start of a container.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from verifiers.sandbox.engine import Report, SandboxTimeout, SandboxUnavailable
from verifiers.sandbox.pipes import MAX_FRAME
from verifiers.sandbox.values import BadBytes, dumps, loads

log = logging.getLogger("verifiers.sandbox")

START_S = 60.0
"""For the start of a container and the self-test in it; no part of a job's deadline."""
REMOVE_S = 10.0
MAX_STDERR = 2_000
OVERHEAD_BYTES = 256 * 2**20
"""Memory of the container over that of the program and its tests."""
USER = "65534:65534"
PASSED_ON = ("PATH", "HOME", "XDG_RUNTIME_DIR")
"""With the variables of docker itself: all that the client sees of the environment."""

SERVE = (
    "import importlib.util as u, runpy; "
    "place = u.find_spec('verifiers').submodule_search_locations[0]; "
    "runpy.run_path(place + '/sandbox/serve.py', run_name='__main__')"
)


class DockerEngine:
    """Implements `Engine`. `docker` is the client's command, `image` what it runs."""

    def __init__(
        self, image: str = "", *, size: int = 2, docker: Sequence[str] = ("docker",)
    ) -> None:
        self._image = image or default_image()
        self._docker = tuple(docker)
        self._places = asyncio.Semaphore(size)
        self._live: set[asyncio.subprocess.Process] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self.fault = ""

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the clients; what runs in containers has none here."""
        return tuple(client.pid for client in self._live)

    async def run(self, job: Mapping[str, Any], deadline_ms: float) -> Report:
        asked = time.perf_counter()
        async with self._places:
            try:
                reply = await self._ask(job, deadline_ms)
            except SandboxUnavailable as missing:
                self._tell(str(missing))
                raise
        self._tell("")
        if "timeout" in reply:
            raise SandboxTimeout
        run_ms = float(reply["run_ms"])
        wait_ms = (time.perf_counter() - asked) * 1000 - run_ms
        return Report(body=reply["body"], wait_ms=max(0.0, wait_ms), run_ms=run_ms)

    async def close(self) -> None:
        """Kill the clients, and remove what they started."""
        for client in tuple(self._live):
            _kill(client)
        while self._live or self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)
            await asyncio.sleep(0.01)  # a run that is still open ends with its client

    def command(self, name: str, memory_bytes: int) -> list[str]:
        """What runs one job: no network, no writable file, no capability, no more processes than
        the sandbox needs."""
        memory = str(2 * memory_bytes + OVERHEAD_BYTES)
        walls = ["--rm", "--interactive", "--pull", "never", "--name", name]
        walls += ["--network", "none", "--ipc", "none", "--hostname", "sandbox"]
        walls += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        walls += ["--memory", memory, "--memory-swap", memory, "--pids-limit", "64"]
        walls += ["--ulimit", "core=0", "--log-driver", "none", "--user", USER]
        program = ["--workdir", "/", "--entrypoint", "python", self._image, "-I", "-c", SERVE]
        return [*self._docker, "run", *walls, *program]

    async def _ask(self, job: Mapping[str, Any], deadline_ms: float) -> Mapping[str, Any]:
        """The reply of a container. Raises `SandboxUnavailable` where there is none."""
        name = f"verivote-{secrets.token_hex(8)}"
        client = await self._start(self.command(name, int(job["memory_bytes"])))
        ended = False
        try:
            async with asyncio.timeout(START_S + deadline_ms / 1000):
                reply = await _exchange(client, {"job": dict(job), "deadline_ms": deadline_ms})
            ended = True
        except TimeoutError:
            raise SandboxUnavailable("the container did not answer") from None
        finally:
            self._end(client, name, ended=ended)
        if "unavailable" in reply:
            raise SandboxUnavailable(f"inside of the container: {reply['unavailable']}")
        return reply

    async def _start(self, command: Sequence[str]) -> asyncio.subprocess.Process:
        passed = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        passed |= {key: text for key, text in os.environ.items() if key.startswith("DOCKER_")}
        try:
            client = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=passed,
                start_new_session=True,
            )
        except OSError as refused:
            raise SandboxUnavailable(f"docker cannot be started: {refused}") from None
        self._live.add(client)
        return client

    def _end(self, client: asyncio.subprocess.Process, name: str, *, ended: bool) -> None:
        """Wait for it in the background; what did not end by itself is killed and removed."""
        task = asyncio.get_running_loop().create_task(self._see_off(client, name, ended))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _see_off(self, client: asyncio.subprocess.Process, name: str, ended: bool) -> None:
        assert client.stdin is not None
        client.stdin.close()
        if ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REMOVE_S):
                    await client.wait()
        removed = client.returncode is not None
        _kill(client)
        await client.wait()
        self._live.discard(client)
        if not removed:
            await self._remove(name)

    async def _remove(self, name: str) -> None:
        """The container, in case it goes on without its client."""
        with contextlib.suppress(SandboxUnavailable):
            remover = await self._start([*self._docker, "rm", "--force", name])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REMOVE_S):
                    await remover.communicate()
            _kill(remover)
            await remover.wait()
            self._live.discard(remover)

    def _tell(self, fault: str) -> None:
        """Say it once, and not with every verdict."""
        if fault and fault != self.fault:
            log.error("code is not judged: the sandbox is unavailable: %s", fault)
        self.fault = fault


def default_image() -> str:
    """The product's own, as `compose.yaml` names it."""
    try:
        return f"verivote:{version('verivote')}"
    except PackageNotFoundError:
        return "verivote"


async def _exchange(
    client: asyncio.subprocess.Process, request: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Hand over the request and read the reply. Stdin stays open: closed, it means "give up"."""
    assert client.stdin is not None
    assert client.stdout is not None
    data = dumps(dict(request))
    try:
        client.stdin.write(len(data).to_bytes(4, "big") + data)
        await client.stdin.drain()
        size = int.from_bytes(await client.stdout.readexactly(4), "big")
        if size > MAX_FRAME:
            raise SandboxUnavailable("the container's reply is too long")
        reply = loads(await client.stdout.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        raise SandboxUnavailable(await _complaint(client)) from None
    except BadBytes:
        raise SandboxUnavailable("the container's reply is none of ours") from None
    if not isinstance(reply, dict):
        raise SandboxUnavailable("the container's reply is none of ours")
    return reply


async def _complaint(client: asyncio.subprocess.Process) -> str:
    """What the client said before it ended."""
    assert client.stderr is not None
    said = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            said = await client.stderr.read(MAX_STDERR)
    lines = said.decode("utf-8", "replace").strip().splitlines()
    own = [line for line in lines if line.startswith("docker: ")]
    return [*own, *lines[-1:], "the container ended without a reply"][0][:300]


def _kill(client: asyncio.subprocess.Process) -> None:
    if client.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(client.pid, signal.SIGKILL)
