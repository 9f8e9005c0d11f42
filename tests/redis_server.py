"""A real Redis server for tests: its own process on a free loopback port, nothing written to disk.

It can be stopped, restarted empty, paused and limited in memory, as a test wants it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.postgres import free_port


def find_program() -> str | None:
    return shutil.which("redis-server")


class RedisServer:
    """One server process; the port stays its own over a restart."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        """A client of the test's own, to look and to meddle."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def start(self, *options: str) -> None:
        """Returns when it answers."""
        program = find_program()
        assert program is not None, "no redis-server on this machine"
        arguments = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        quiet = ("--save", "", "--appendonly", "no", "--loglevel", "warning")
        self._process = subprocess.Popen(
            [program, *arguments, *quiet, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_it_answers()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and does nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        for _ in range(1_000):
            assert self._process.poll() is None, "redis-server ended at once"
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    if self.client.ping():
                        return
            except (OSError, redis.exceptions.RedisError):
                time.sleep(0.01)
        raise AssertionError("redis-server did not answer")


@contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A started server, killed at the end. Needs `find_program()`."""
    server = RedisServer(folder)
    try:
        server.start(*options)
        yield server
    finally:
        server.stop()
