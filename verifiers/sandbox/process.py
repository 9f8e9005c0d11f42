"""One sandboxed process and its pipes, from the parent's side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verifiers.sandbox.engine import SandboxUnavailable
from verifiers.sandbox.launching import Launcher
from verifiers.sandbox.pipes import MAX_FRAME
from verifiers.sandbox.values import BadBytes, dumps, loads

CHILD = str(Path(__file__).resolve().with_name("child.py"))
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
FIRST_UID, UIDS = 61_184, 4_000
"""As root, a process takes a user id of this range that nobody has, by its process id."""


class Link:
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


class Process:
    """One child, and our end of its control socket."""

    def __init__(self, launcher: Launcher, ruleset: int) -> None:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        passed = (theirs.fileno(), *((ruleset,) if ruleset >= 0 else ()))
        names = [str(number) for number in (theirs.fileno(), ruleset, launcher.parent())]
        try:
            self.process = subprocess.Popen(
                launcher.command([PYTHON, "-I", "-S", CHILD, *names]),
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
        data = dumps({**job, "uid": FIRST_UID + self.process.pid % UIDS})
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
        """SIGKILL, to what launched it too. It has no children: it was not able to make one."""
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
