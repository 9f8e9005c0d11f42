"""Frames over pipes: four bytes of length, then one value. Used by both sides of the boundary."""

from __future__ import annotations

import os
import select
import time

from verifiers.sandbox.values import MAX_BYTES, BadBytes, dumps, loads

TYPE_CHECKING = False  # `typing` costs 12 ms, more than the start of the interpreter
if TYPE_CHECKING:
    from typing import Any

MAX_FRAME = MAX_BYTES + 65_536


class Closed(Exception):
    """The other side is gone, or speaks nonsense."""


class TooSlow(Exception):
    """The other side did not answer in time."""


def send(fd: int, data: bytes) -> None:
    """Write one frame. Raises `Closed`."""
    left = memoryview(len(data).to_bytes(4, "big") + data)
    try:
        while left:
            left = left[os.write(fd, left) :]
    except OSError:
        raise Closed from None


def receive(fd: int, deadline: float | None = None) -> bytes:
    """Read one frame, by `deadline` on the monotonic clock. Raises `Closed` or `TooSlow`."""
    size = int.from_bytes(_exactly(fd, 4, deadline), "big")
    if size > MAX_FRAME:
        raise Closed
    return _exactly(fd, size, deadline)


def send_value(fd: int, value: Any) -> None:
    send(fd, dumps(value))


def receive_value(fd: int, deadline: float | None = None) -> Any:
    """One value. Raises `Closed` also for bytes that are none."""
    try:
        return loads(receive(fd, deadline))
    except BadBytes:
        raise Closed from None


def _exactly(fd: int, size: int, deadline: float | None) -> bytes:
    data = bytearray()
    while len(data) < size:
        if deadline is not None:
            _wait(fd, deadline)
        try:
            part = os.read(fd, min(size - len(data), 65_536))
        except OSError:
            raise Closed from None
        if not part:
            raise Closed
        data += part
    return bytes(data)


def _wait(fd: int, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0 or not select.select([fd], [], [], left)[0]:
        raise TooSlow
