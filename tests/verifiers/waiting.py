"""Waiting for what other processes do. No limits here: the test run has its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path


async def until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """True when a process is no more, or waits to be reaped by somebody else."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
