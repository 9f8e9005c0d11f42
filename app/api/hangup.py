"""Work that stops when the client hangs up.

No server does this for a handler that is not streaming yet: it runs to its end for nobody, and with
k samples a request that is k times the waste. A half-closed connection counts as hung up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from app.api.errors import ClientGone

T = TypeVar("T")


class Hangup:
    """Watches the connection of one request, from the moment its body was read."""

    def __init__(self, receive: Receive) -> None:
        self._watching = asyncio.create_task(_until_gone(receive))

    @property
    def happened(self) -> bool:
        return self._watching.done()

    def on_hangup(self, tell: Callable[[], object]) -> None:
        self._watching.add_done_callback(lambda _: tell())

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Raises `ClientGone`, after it has been cancelled and has ended."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task, self._watching), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            return task.result()
        finally:
            await end(task)

    def close(self) -> None:
        self._watching.cancel()


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task that may still run, and wait until it has let go of what it held."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
