"""Killable worker processes: a deadline that holds, whatever the work does.

Each worker is a fresh interpreter with an empty environment that does one job at a time over a
socket. When a deadline passes it gets SIGKILL and another takes its place; one spare is kept warm
once the pool is in use, and none exists before. The clock of a deadline starts when a ready worker
is handed the job; waiting for one is measured apart. A worker is not a sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from verifiers.base import Answer, Candidate
from verifiers.worker_process import FRAME

MAX_REPLY_BYTES = 2**20
START_S = 30.0
"""Seconds that a new process may take until it is ready."""

Fault = Literal["", "timeout", "died", "garbage", "unavailable"]

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); import verifiers.worker_process as w; w.main()"
)
_ROOT = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is asked: prepare a verifier, or judge a candidate with it."""

    spec: bytes
    """Pickled (name, options, check)."""
    candidate: Candidate | None = None
    """None asks only to prepare."""
    answer: Answer | None = None
    report: Mapping[str, Any] | None = None
    """What the sandbox said, for a verifier that asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    body: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault = ""
    """Why there is no body; empty when there is one."""
    wait_ms: float = 0.0
    """Until a ready worker was handed the job."""
    run_ms: float = 0.0


class _Lost(Exception):
    """The process ended or spoke nonsense."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class WorkerPool:
    """At most `size` jobs at once, one spare process beside them."""

    def __init__(
        self,
        *,
        size: int = 2,
        plugins: Sequence[str] = (),
        memory_bytes: int = 2**30,
        jobs_per_worker: int = 2_000,
    ) -> None:
        self._size = size
        self._setup = {"plugins": tuple(plugins), "memory_bytes": memory_bytes}
        self._preload: set[str] = set()
        self._jobs_per_worker = jobs_per_worker
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Worker] = []
        self._live: set[_Worker] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._warming = False
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the living workers."""
        return tuple(worker.process.pid for worker in self._live)

    def preload(self, modules: Sequence[str]) -> None:
        """Modules that new workers load before they are ready, so that no deadline pays for it."""
        self._preload.update(modules)

    async def run(self, job: Job, deadline_ms: float) -> Reply:
        """Let a worker do the job. Every failure is a `Reply` with its fault."""
        asked = time.perf_counter()
        async with self._slots:
            try:
                worker = await self._take()
            except _Lost as lost:
                return Reply(fault=lost.fault, wait_ms=_since(asked))
            wait_ms, handed = _since(asked), time.perf_counter()
            try:
                async with asyncio.timeout(deadline_ms / 1000):
                    await worker.send(job)
                    self._keep_spare()
                    body = await worker.receive()
            except TimeoutError:
                self._discard(worker)
                return Reply(fault="timeout", wait_ms=wait_ms, run_ms=_since(handed))
            except _Lost as lost:
                self._discard(worker)
                return Reply(fault=lost.fault, wait_ms=wait_ms, run_ms=_since(handed))
            except BaseException:
                self._discard(worker)  # cancelled: the process is still at work
                raise
            run_ms = _since(handed)
            self._put_back(worker)
            return Reply(body=body, wait_ms=wait_ms, run_ms=run_ms)

    async def close(self) -> None:
        """Kill every worker and wait until it is gone."""
        self._closed = True
        for worker in tuple(self._live):
            self._discard(worker)
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    async def _take(self) -> _Worker:
        if self._closed:
            raise _Lost("unavailable")
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive():
                return worker
            self._discard(worker)
        return await self._spawn()

    async def _spawn(self) -> _Worker:
        try:
            worker = _Worker()
        except OSError:
            raise _Lost("unavailable") from None
        self._live.add(worker)
        try:
            async with asyncio.timeout(START_S):
                await worker.start({**self._setup, "preload": tuple(sorted(self._preload))})
        except (TimeoutError, _Lost):
            self._discard(worker)
            raise _Lost("unavailable") from None
        except BaseException:
            self._discard(worker)
            raise
        return worker

    def _keep_spare(self) -> None:
        enough = self._idle or self._warming or len(self._live) > self._size
        if not enough and not self._closed:
            self._warming = True
            self._in_background(self._warm_up())

    async def _warm_up(self) -> None:
        try:
            worker = await self._spawn()
            if worker in self._live:
                self._idle.append(worker)
        except _Lost:
            pass  # the next job tries again
        finally:
            self._warming = False

    def _put_back(self, worker: _Worker) -> None:
        if worker.jobs >= self._jobs_per_worker or self._closed:
            self._discard(worker)
        else:
            self._idle.append(worker)

    def _discard(self, worker: _Worker) -> None:
        if worker in self._live:
            self._live.remove(worker)
            worker.kill()
            self._in_background(worker.reap())
        if worker in self._idle:
            self._idle.remove(worker)

    def _in_background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class _Worker:
    """One process and our end of its socket."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, _ROOT, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._cwd = Path.cwd()
        self._nonce = ""
        self.jobs = 0

    async def start(self, setup: Mapping[str, Any]) -> None:
        """Hand over the set-up and wait until the process is ready."""
        self._streams = await asyncio.open_unix_connection(sock=self._socket, limit=MAX_REPLY_BYTES)
        await self._write({**setup, "path": [str(self._cwd / entry) for entry in sys.path]})
        if not (await self._read()).get("ready"):
            raise _Lost("garbage")

    async def send(self, job: Job) -> None:
        self.jobs += 1
        # A reply must repeat this, so that nothing left over from another job can answer.
        self._nonce = secrets.token_hex(8)
        await self._write(
            {
                "nonce": self._nonce,
                "spec": job.spec,
                "candidate": job.candidate,
                "answer": job.answer,
                "report": job.report,
            }
        )

    async def receive(self) -> Mapping[str, Any]:
        body = await self._read()
        if body.get("nonce") != self._nonce:
            raise _Lost("garbage")
        return body

    def is_alive(self) -> bool:
        """Without reaping it: its number stays taken until `reap`, so `kill` hits nobody else."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is None

    def kill(self) -> None:
        """SIGKILL to the process and to what it forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self._streams is not None:
            self._streams[1].transport.abort()
        else:
            self._socket.close()

    async def reap(self) -> None:
        """Wait until the killed process is gone."""
        while self.process.poll() is None:  # noqa: ASYNC110 - a killed process sets no event
            await asyncio.sleep(0.002)
        await asyncio.sleep(0)

    async def _write(self, message: Mapping[str, Any]) -> None:
        assert self._streams is not None
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            self._streams[1].write(FRAME.pack(len(data)) + data)
            await self._streams[1].drain()
        except OSError:
            raise _Lost("died") from None

    async def _read(self) -> Mapping[str, Any]:
        assert self._streams is not None
        try:
            line = await self._streams[0].readline()
        except (OSError, ValueError):
            raise _Lost("garbage") from None
        if not line.endswith(b"\n"):
            raise _Lost("died")
        try:
            body = json.loads(line)
        except (ValueError, RecursionError):
            raise _Lost("garbage") from None
        if not isinstance(body, dict):
            raise _Lost("garbage")
        return body


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
