"""Sandboxed processes of this machine: start, hand over, watch, kill.

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
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from verifiers.sandbox.engine import Report, SandboxTimeout, SandboxUnavailable
from verifiers.sandbox.filters import sandbox_filter
from verifiers.sandbox.landlock import library_is_public, make_ruleset
from verifiers.sandbox.launching import Launcher, Plain
from verifiers.sandbox.process import Link, Process

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


class LocalEngine:
    """Processes locked down by Landlock, seccomp and limits; needs no privilege and no helper."""

    def __init__(
        self,
        *,
        size: int = 2,
        launcher: Launcher | None = None,
        spares: int = SPARES,
        unsafe: bool = False,
        ruleset: Callable[[], int] = make_ruleset,
        system_calls: Callable[[], bytes] = sandbox_filter,
    ) -> None:
        """`launcher` starts the processes, of which `spares` wait warm. `ruleset` and
        `system_calls` say what the kernel shall refuse; the self-test judges. `unsafe` leaves all
        of it away, and says so loudly.
        """
        self._launcher = launcher or Plain()
        self._spares = spares
        self._unsafe = unsafe
        self._make_ruleset = ruleset
        self._make_filter = system_calls
        self._places = asyncio.Semaphore(size)
        self._spare: list[Process] = []
        self._live: set[Process] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._ruleset = -1
        self._filter = b""
        self._capabilities = 0
        self._checking = asyncio.Lock()
        self._checked_at: float | None = None
        self.fault = ""
        self._closed = False
        if unsafe:
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
        places = {"parent": self._launcher.parent(), "packages": sysconfig.get_path("purelib")}
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
        if self._unsafe:
            return
        async with self._checking:
            now = time.monotonic()
            if self._checked_at is None or now - self._checked_at > CHECK_EVERY_S:
                self.fault = await self._find_fault()
                self._checked_at = now
                if self.fault:
                    log.error("code is not judged: the sandbox is unavailable: %s", self.fault)
        if self.fault:
            raise SandboxUnavailable(self.fault)

    async def _find_fault(self) -> str:
        try:
            if self._ruleset < 0:
                self._prepare()
            if fault := await asyncio.to_thread(self._launcher.find_fault):
                return fault
            async with asyncio.timeout(START_S):
                through = await self.self_test()
        except (SandboxUnavailable, OSError) as missing:
            return str(missing)
        except TimeoutError:
            return "the self-test did not end"
        return f"got through: {', '.join(through)}" if through else ""

    def _prepare(self) -> None:
        """What all processes are handed. Raises OSError where the kernel lacks a part."""
        self._filter = self._make_filter()
        try:
            self._ruleset = self._make_ruleset()
        except OSError:
            if not self._launcher.own_files:
                raise
        shown = self._launcher.own_files or library_is_public()
        self._capabilities = 0 if shown else CAP_DAC_READ_SEARCH

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
        links = [Link() for _ in range(runs)]
        used: list[Process] = []
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
        self, process: Process, job: Mapping[str, Any], links: Sequence[Link], limit_s: float
    ) -> None:
        told = {**job, "limit_s": limit_s, "links": len(links), "role": "tests"}
        told["cpu_s"] = int(TEST_PROCESS_S + limit_s)
        fds = [fd for link in links for fd in (link.replies_out, link.requests_in)]
        await process.hand_over(self._common(told), fds)
        for link in links:
            link.close_tester_ends()

    async def _start_candidate(
        self, job: Mapping[str, Any], link: Link, limit_s: float, used: list[Process]
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
            "unsafe": self._unsafe,
            "landlock": self._ruleset >= 0,
            "filter": self._filter,
            "capabilities": self._capabilities,
        }

    async def _take(self) -> Process:
        if self._closed:
            raise SandboxUnavailable("closed")
        while self._spare:
            process = self._spare.pop()
            if process.is_alive():
                return process
            self._discard(process)
        return self._spawn()

    def _spawn(self) -> Process:
        try:
            process = Process(self._launcher, self._ruleset)
        except OSError as refused:
            raise SandboxUnavailable(str(refused)) from None
        self._live.add(process)
        return process

    def _refill(self) -> None:
        while len(self._spare) < self._spares and not self._closed:
            with contextlib.suppress(SandboxUnavailable):
                self._spare.append(self._spawn())
                continue
            return

    def _discard(self, process: Process) -> None:
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
