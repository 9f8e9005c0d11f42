"""Keeps one server process running: starts it, waits until it is healthy, starts it again.

Every launch gets a free port of loopback. A server that keeps dying counts as failed after a few
launches in a row, with its last words kept, and is tried from then on every ten minutes: what it
died of may be mended, such as memory that another process held. The gateway never waits for any of
it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from app.engines.base import ServerState
from app.errors import EngineError

log = logging.getLogger("verivote.engines.supervisor")

KEEPER = Path(__file__).with_name("keeper.py")
MAX_LOG_BYTES = 32 * 2**20
"""A larger log is set aside, once, before the next launch."""
TAIL_BYTES, TAIL_LINES, LINE_CHARS = 64 * 2**10, 20, 400
UNHEALTHY = 3
"""So often in a row a server must say itself that it is not well before it is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of the server."""

    command: Sequence[str]
    environment: Mapping[str, str]
    """The server's whole environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the supervisor waits for what, in seconds."""

    start_s: float
    """From a launch until the server is healthy."""
    poll_s: float = 0.25
    watch_s: float = 10.0
    """Between two looks at a server that is ready."""
    grace_s: float = 20.0
    """From SIGTERM to SIGKILL."""
    backoff_s: float = 1.0
    longest_backoff_s: float = 30.0
    steady_s: float = 120.0
    """A server that was ready for so long may crash anew without counting as failed sooner."""
    launches: int = 5
    """Failed ones in a row after which it counts as failed."""
    retry_s: float = 600.0
    """From then on, between the end of a launch and the next."""


class Supervisor:
    """Runs one server.

    `launch` says how, given the port; `is_healthy` asks it: True, False when it says no itself,
    None when it says nothing; `on_healthy` prepares it before it counts as ready, and may raise
    `EngineError`.
    """

    def __init__(
        self,
        name: str,
        *,
        launch: Callable[[int], Launch],
        is_healthy: Callable[[int], Awaitable[bool | None]],
        on_healthy: Callable[[int], Awaitable[None]],
        folder: Path,
        log_name: str,
        patience: Patience,
        pick_port: Callable[[], int] | None = None,
    ) -> None:
        self._name = name
        self._launch = launch
        self._is_healthy = is_healthy
        self._on_healthy = on_healthy
        self._folder = folder
        self._patience = patience
        self._pick_port = pick_port or free_port
        self._keeping: asyncio.Task[None] | None = None
        self.log_file = folder / log_name
        self.state = ServerState(state="stopped")
        self.pid: int | None = None
        """Of the server, while one runs."""
        self._begins_at = 0

    async def start(self) -> None:
        """Returns at once. Raises `OSError` when the folder cannot be made."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.state = ServerState(state="starting")
        self._keeping = asyncio.create_task(self._keep_running())

    async def close(self) -> None:
        """Ends the server and what it started; returns when they are gone."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        self.state = replace(self.state, state="stopped")

    async def _keep_running(self) -> None:
        patience, failed = self._patience, 0
        while True:
            try:
                why, was_steady = await self._run_once()
            except Exception as fault:  # else it would be "starting" for ever
                log.exception("engine '%s': its supervisor failed", self._name)
                why, was_steady = f"cannot be run: {fault}", False
            failed = 1 if was_steady else failed + 1
            words = "\n".join((why, *self._tail()))
            log.error("engine '%s' (%s): its server %s", self._name, self.log_file, words)
            if failed < patience.launches:
                self._note("starting", why)
                backoff_s = patience.backoff_s * 2 ** (failed - 1)
                await asyncio.sleep(min(patience.longest_backoff_s, backoff_s))
            else:  # until it is ready, so that nobody waits for a launch that is likely to fail
                often = f"failed {failed} times in a row"
                again = f"is tried again every {patience.retry_s:g} s"
                self._note("failed", f"{often} and {again}; at last it {why}")
                log.error("engine '%s': its server %s", self._name, self.state.why)
                await asyncio.sleep(patience.retry_s)
                log.warning("engine '%s': its server is tried again", self._name)
            self.state = replace(self.state, restarts=self.state.restarts + 1)

    async def _run_once(self) -> tuple[str, bool]:
        """Why this launch ended, and whether it had been ready for long."""
        now = asyncio.get_running_loop().time
        self._begin_log()
        port = self._pick_port()
        keeper = await self._start_keeper(port)
        ended = asyncio.create_task(keeper.wait())
        ready_at: float | None = None
        try:
            why = await self._introduce(keeper) or await self._until_ready(port, ended)
            if not why:
                ready_at = now()
                self._note("ready", self.state.why)
                log.info("engine '%s' is ready on port %d", self._name, port)
                why = await self._watch(port, ended)
        finally:
            await self._stop(keeper, ended)
        return why, ready_at is not None and now() - ready_at >= self._patience.steady_s

    async def _start_keeper(self, port: int) -> asyncio.subprocess.Process:
        launch = self._launch(port)
        job = {
            "command": list(launch.command),
            "environment": dict(launch.environment),
            "folder": str(self._folder),
            "log": str(self.log_file),
            "grace_s": self._patience.grace_s,
        }
        keeper = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(KEEPER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # Ctrl-C is for the gateway, which lets open requests end first.
            start_new_session=True,
        )
        assert keeper.stdin is not None
        keeper.stdin.write(json.dumps(job).encode() + b"\n")
        return keeper

    async def _introduce(self, keeper: asyncio.subprocess.Process) -> str:
        """Why the server could not be started; empty when it was."""
        assert keeper.stdout is not None
        said = json.loads(await keeper.stdout.readline() or b"{}")
        self.pid = said.get("pid")
        return "" if self.pid else f"cannot be started: {said.get('error', 'its keeper died')}"

    async def _until_ready(self, port: int, ended: asyncio.Task[int]) -> str:
        """Why it did not get healthy; empty when it did."""
        try:
            async with asyncio.timeout(self._patience.start_s):
                while await self._is_healthy(port) is not True:
                    if await _ended_within(self._patience.poll_s, ended):
                        return self._died(ended)
                preparing = asyncio.ensure_future(self._on_healthy(port))
                try:
                    await asyncio.wait({preparing, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    preparing.cancel()
                    await asyncio.wait({preparing})
                if not preparing.cancelled():
                    preparing.result()
        except TimeoutError:
            return f"was not ready within {self._patience.start_s:g} s"
        except EngineError as error:
            return self._died(ended) if ended.done() else f"was not ready: {error.message}"
        return self._died(ended) if ended.done() else ""

    async def _watch(self, port: int, ended: asyncio.Task[int]) -> str:
        """Wait until it ends, or says again and again that it is not well."""
        sick = 0
        while not await _ended_within(self._patience.watch_s, ended):
            sick = sick + 1 if await self._is_healthy(port) is False else 0
            if sick >= UNHEALTHY:
                return f"said {sick} times that it is not healthy"
        return self._died(ended)

    async def _stop(self, keeper: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        """Close the keeper's input, which ends the server; by force when even that does not."""
        assert keeper.stdin is not None
        keeper.stdin.close()
        await asyncio.wait({ended}, timeout=self._patience.grace_s + 5.0)
        if not ended.done():
            if self.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                keeper.kill()
            await asyncio.wait({ended})
        self.pid = None

    def _note(self, state: str, why: str) -> None:
        self.state = replace(self.state, state=state, why=why)  # type: ignore[arg-type]

    def _died(self, ended: asyncio.Task[int]) -> str:
        status = ended.result()
        how = f"was killed by signal {status - 128}" if status > 128 else f"ended with {status}"
        said = telling_line(self._tail())
        return f"{how}: {said}" if said else how

    def _begin_log(self) -> None:
        """The tail of a launch begins where the log ends now."""
        with suppress(OSError):
            if self.log_file.stat().st_size > MAX_LOG_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".old.log"))
        try:
            self._begins_at = self.log_file.stat().st_size
        except OSError:
            self._begins_at = 0

    def _tail(self) -> list[str]:
        """The last lines of this launch."""
        try:
            with self.log_file.open("rb") as written:
                end = written.seek(0, os.SEEK_END)
                written.seek(max(self._begins_at, end - TAIL_BYTES))
                lines = written.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        return [line[:LINE_CHARS] for line in lines if line.strip()][-TAIL_LINES:]


def telling_line(lines: Sequence[str]) -> str:
    """The line that names the error: the last one that does not point to another, else the last."""
    for line in reversed(lines):
        found = re.search(r"\b[A-Za-z_.]*(Error|Exception)\b: .*", line)
        if found and "root cause above" not in line:
            return found.group()
    return lines[-1].strip() if lines else ""


async def _ended_within(seconds: float, ended: asyncio.Task[int]) -> bool:
    await asyncio.wait({ended}, timeout=seconds)
    return ended.done()


def free_port() -> int:
    """A port of loopback that nobody listens on now; somebody may before the server does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
