"""The parent's side of the sandbox: start, hand over, watch, kill.

A job is one test process and up to two candidate processes, each used once. What they say is read
with a cap and a deadline; afterwards all of them get SIGKILL, and none could have made another.
A few processes wait warm, before any code of a stranger exists. The sandbox tries itself at first
use and every few minutes: when a probe gets through, or the kernel lacks a part, nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from verifiers.sandbox.filters import sandbox_filter
from verifiers.sandbox.landlock import library_is_public, make_ruleset
from verifiers.sandbox.pipes import MAX_FRAME
from verifiers.sandbox.values import BadBytes, dumps, loads

log = logging.getLogger("verifiers.sandbox")

MIN_PROBES = 12
CHECK_EVERY_S = 600.0
"""How long a passed self-test is believed."""
START_S = 20.0
MEMORY_BYTES = 512 * 2**20
SPARES = 3
MAX_RUNS = 4
CAP_DAC_READ_SEARCH = 1 << 2
"""As root with an interpreter that only root can read, this stays; Landlock still decides what."""
TEST_PROCESS_S = 4
"""CPU seconds that the tests themselves may take over those of the candidate."""

Mode = Literal["on", "unsafe"]

_CHILD = str(Path(__file__).with_name("child.py"))
_PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))


class SandboxUnavailable(Exception):
    """Code cannot be run safely here; the message says what is missing."""


class SandboxTimeout(Exception):
    """The deadline passed while the tests were running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the test process said, and how long the parts took."""

    body: Mapping[str, Any] = field(default_factory=dict)
    """Empty when the test process ended without a report."""
    wait_ms: float = 0.0
    """Until a place was free."""
    run_ms: float = 0.0


class Engine(Protocol):
    """Runs a job (`verifiers.base.SandboxJob` as a mapping) where it can do no harm."""

    @property
    def pids(self) -> tuple[int, ...]: ...

    async def run(self, job: Mapping[str, Any], deadline_ms: float) -> Report: ...

    async def close(self) -> None: ...


class LandlockEngine:
    """Processes locked down by Landlock, seccomp and limits; needs no privilege and no helper."""

    def __init__(
        self,
        *,
        size: int = 2,
        mode: Mode = "on",
        ruleset: Callable[[], int] = make_ruleset,
        system_calls: Callable[[], bytes] = sandbox_filter,
    ) -> None:
        """`ruleset` and `system_calls` say what the kernel shall refuse; the self-test judges."""
        self._mode = mode
        self._make_ruleset = ruleset
        self._make_filter = system_calls
        self._places = asyncio.Semaphore(size)
        self._spare: list[_Process] = []
        self._live: set[_Process] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._ruleset = -1
        self._filter = b""
        self._capabilities = 0
        self._checking = asyncio.Lock()
        self._checked_at: float | None = None
        self._fault = ""
        self._closed = False
        if mode == "unsafe":
            log.critical(
                "UNSAFE: the sandbox is switched off by configuration. Code written by models runs "
                "with all rights of this process. Never use this outside of an experiment."
            )

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of everything that it started and that is not reaped."""
        return tuple(each.process.pid for each in self._live)

    async def run(self, job: Mapping[str, Any], deadline_ms: float) -> Report:
        """Run the job's tests. Raises `SandboxUnavailable` or `SandboxTimeout`."""
        asked = time.perf_counter()
        async with self._places:
            await self._ensure_sound()
            started = time.perf_counter()
            try:
                async with asyncio.timeout(deadline_ms / 1000):
                    body = await self._run(job, deadline_ms)
            except TimeoutError:
                raise SandboxTimeout from None
            ended = time.perf_counter()
        return Report(body=body, wait_ms=(started - asked) * 1000, run_ms=(ended - started) * 1000)

    async def self_test(self) -> Sequence[str]:
        """Names of the probes that got through; empty when the sandbox holds."""
        limits = {"memory_bytes": MEMORY_BYTES, "cpu_s": 5, "foreign": False}
        places = {"parent": os.getpid(), "packages": sysconfig.get_path("purelib")}
        said = await self._probe({**limits, **places})
        if len(said.get("tried", ())) < MIN_PROBES:
            return ["self_test"]
        through = [str(name) for name in said["open"]]
        if os.uname().machine == "x86_64" and await self._probe({**limits, "foreign": True}):
            through.append("foreign_call")
        return through

    async def close(self) -> None:
        """Kill everything and wait until it is gone."""
        self._closed = True
        for process in tuple(self._live):
            self._discard(process)
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
        if self._ruleset >= 0:
            os.close(self._ruleset)
            self._ruleset = -1

    async def _ensure_sound(self) -> None:
        if self._mode == "unsafe":
            return
        async with self._checking:
            now = time.monotonic()
            if self._checked_at is None or now - self._checked_at > CHECK_EVERY_S:
                self._fault = await self._find_fault()
                self._checked_at = now
                if self._fault:
                    log.error("code is not judged: the sandbox is unavailable: %s", self._fault)
        if self._fault:
            raise SandboxUnavailable(self._fault)

    async def _find_fault(self) -> str:
        try:
            if self._ruleset < 0:
                self._filter = self._make_filter()
                self._ruleset = self._make_ruleset()
                self._capabilities = 0 if library_is_public() else CAP_DAC_READ_SEARCH
            async with asyncio.timeout(START_S):
                through = await self.self_test()
        except (SandboxUnavailable, OSError) as missing:
            return str(missing)
        except TimeoutError:
            return "the self-test did not end"
        return f"got through: {', '.join(through)}" if through else ""

    async def _probe(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        process = await self._take()
        try:
            await process.hand_over({**self._common(job), "role": "probes"}, ())
            return await process.receive() or {}
        finally:
            self._discard(process)

    async def _run(self, job: Mapping[str, Any], deadline_ms: float) -> Mapping[str, Any]:
        limit_s = min(job["time_limit_ms"], deadline_ms * 0.4) / 1000
        runs = len(job["orders"])
        if not 1 <= runs <= MAX_RUNS:
            raise ValueError(f"{runs} runs")
        links = [_Link() for _ in range(runs)]
        used: list[_Process] = []
        try:
            tester = await self._take()
            used.append(tester)
            await asyncio.gather(
                self._start_candidate(job, links[0], limit_s, used),
                self._start_tests(tester, job, links, limit_s),
            )
            waiting = links[1:]
            while (said := await tester.receive()) == "again" and waiting:
                await self._start_candidate(job, waiting.pop(0), limit_s, used)
            return _told(said)
        finally:
            for process in used:
                self._discard(process)
            for link in links:
                link.close()
            self._refill()

    async def _start_tests(
        self, process: _Process, job: Mapping[str, Any], links: Sequence[_Link], limit_s: float
    ) -> None:
        told = {**job, "limit_s": limit_s, "links": len(links), "role": "tests"}
        told["cpu_s"] = int(TEST_PROCESS_S + limit_s)
        fds = [fd for link in links for fd in (link.replies_out, link.requests_in)]
        await process.hand_over(self._common(told), fds)
        for link in links:
            link.close_tester_ends()

    async def _start_candidate(
        self, job: Mapping[str, Any], link: _Link, limit_s: float, used: list[_Process]
    ) -> None:
        process = await self._take()
        used.append(process)
        told = {"role": "candidate", "cpu_s": int(limit_s) + 2}
        told["memory_bytes"] = job["memory_bytes"]
        await process.hand_over(self._common(told), (link.requests_out, link.replies_in))
        link.close_candidate_ends()

    def _common(self, job: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **job,
            "unsafe": self._mode == "unsafe",
            "filter": self._filter,
            "capabilities": self._capabilities,
        }

    async def _take(self) -> _Process:
        if self._closed:
            raise SandboxUnavailable("closed")
        while self._spare:
            process = self._spare.pop()
            if process.is_alive():
                return process
            self._discard(process)
        return self._spawn()

    def _spawn(self) -> _Process:
        try:
            process = _Process(self._ruleset)
        except OSError as refused:
            raise SandboxUnavailable(str(refused)) from None
        self._live.add(process)
        return process

    def _refill(self) -> None:
        while len(self._spare) < SPARES and not self._closed:
            with contextlib.suppress(SandboxUnavailable):
                self._spare.append(self._spawn())
                continue
            return

    def _discard(self, process: _Process) -> None:
        if process in self._live:
            self._live.remove(process)
            process.kill()
            task = asyncio.get_running_loop().create_task(process.reap())
            self._background.add(task)
            task.add_done_callback(self._background.discard)


def _told(said: Any) -> Mapping[str, Any]:
    """The report as JSON values, the traces of calls as their hash; empty when there is none."""
    if not isinstance(said, dict) or not isinstance(said.get("runs"), list):
        return {}
    for run in said["runs"]:
        trace = run.pop("trace", b"")
        run["behaviour"] = hashlib.sha256(trace).hexdigest()[:32] if trace else ""
    return said


class _Link:
    """Two pipes between a test process and a candidate process; our copies of their ends."""

    def __init__(self) -> None:
        self.requests_out, self.requests_in = os.pipe()
        self.replies_out, self.replies_in = os.pipe()
        self._open = {self.requests_out, self.requests_in, self.replies_out, self.replies_in}

    def close_candidate_ends(self) -> None:
        self._close(self.requests_out, self.replies_in)

    def close_tester_ends(self) -> None:
        self._close(self.requests_in, self.replies_out)

    def close(self) -> None:
        self._close(*self._open)

    def _close(self, *fds: int) -> None:
        for fd in fds:
            if fd in self._open:
                self._open.remove(fd)
                os.close(fd)


class _Process:
    """One child, and our end of its control socket."""

    def __init__(self, ruleset: int) -> None:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        passed = (theirs.fileno(), *((ruleset,) if ruleset >= 0 else ()))
        names = [str(number) for number in (theirs.fileno(), ruleset, os.getpid())]
        try:
            self.process = subprocess.Popen(
                [_PYTHON, "-I", "-S", _CHILD, *names],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                pass_fds=passed,
                start_new_session=True,
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()

    async def hand_over(self, job: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Give it its job and wait until it is locked. Raises `SandboxUnavailable`."""
        data = dumps(dict(job))
        try:
            head = len(data).to_bytes(4, "big")
            socket.send_fds(self._control, [head], fds) if fds else self._control.send(head)
            await asyncio.get_running_loop().sock_sendall(self._control, data)
        except OSError as broken:
            raise SandboxUnavailable(f"a process could not be started: {broken}") from None
        said = await self.receive()
        if said != "locked":
            raise SandboxUnavailable(said or "a process ended before it was locked")

    async def receive(self) -> Any:
        """The next value it sends; None when it is gone or sends nonsense."""
        try:
            size = int.from_bytes(await self._exactly(4), "big")
            if size > MAX_FRAME:
                return None
            return loads(await self._exactly(size))
        except (OSError, EOFError, BadBytes):
            return None

    def is_alive(self) -> bool:
        """Without reaping it: its number stays taken until `reap`."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is None

    def kill(self) -> None:
        """SIGKILL. It has no children: it was not able to make one."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._control.close()

    async def reap(self) -> None:
        while self.process.poll() is None:  # noqa: ASYNC110 - a killed process sets no event
            await asyncio.sleep(0.002)

    async def _exactly(self, size: int) -> bytes:
        loop, data = asyncio.get_running_loop(), bytearray()
        while len(data) < size:
            part = await loop.sock_recv(self._control, size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)
