"""Incremental reader of server-sent events, for replies of upstream servers.

Gives the `data` of each event, whatever the chunk borders. Comments, names, ids and retry hints are
dropped. It knows nothing of JSON or of `[DONE]`.
"""

from __future__ import annotations

from app.errors import EngineGarbage

MAX_LINE_BYTES = 2**20
"""Largest line, and largest event, in bytes."""

_BOM = b"\xef\xbb\xbf"


class SSEReader:
    """Feed it bytes, take events. Raises `EngineGarbage` on a line or event over the cap."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_line_bytes
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that end inside this chunk, in order."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = chunk.split(b"\n")
        self._parts.append(first)
        self._parts_bytes += len(first)
        self._check(self._parts_bytes)
        if not others:
            return []
        *lines, rest = others
        lines.insert(0, b"".join(self._parts))
        self._parts, self._parts_bytes = [rest], len(rest)
        self._check(self._parts_bytes)
        return self._take(lines)

    def finish(self) -> list[bytes]:
        """The last event when only its blank line is missing; a line cut in half is dropped."""
        self._parts, self._parts_bytes = [], 0
        return self._take([b""])

    def _take(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if self._at_start:
                self._at_start = False
                line = line.removeprefix(_BOM)
            if line.startswith(b"data:"):
                value = line[5:].removeprefix(b" ")
                self._data.append(value)
                self._data_bytes += len(value)
                self._check(self._data_bytes)
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data, self._data_bytes = [], 0
        return events

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise EngineGarbage(
                f"The model server sent a line of more than {self._max_bytes} bytes."
            )
