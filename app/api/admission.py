"""How many requests are answered at once. One more is refused, never queued without end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded


class Admission:
    """Counts the requests in flight."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.inflight = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """A place until the reply has ended. Raises `Overloaded`."""
        if self.inflight >= self._most:
            raise Overloaded(
                f"{self.inflight} requests are in flight, the limit is {self._most}.",
                retry_after_s=1.0,
            )
        self.inflight += 1
        try:
            yield
        finally:
            self.inflight -= 1
