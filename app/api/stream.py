"""The reply of a streamed request: role chunk and comments at once, text when it may be shown.

On the vote path the text comes after the decision; on the live path as it is generated. Only
`data:` lines and comments are ever sent, because clients break on the rest of the format.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack

from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from app.api.completion import COMMENT, Chunks, Seen, error_event, error_of, verification_of
from app.api.errors import error_body
from app.api.hangup import Hangup, end
from app.errors import Overloaded, VerivoteError
from app.gateway import Opened, Rim, answer
from app.group import Group
from app.sample import Delta

log = logging.getLogger("verivote.api")

STREAM_HEADERS: Mapping[str, str] = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class AnswerStream(Response):
    """Answers an opened task while it sends; leaves its place when it has ended."""

    def __init__(
        self,
        opened: Opened,
        rim: Rim,
        *,
        hangup: Hangup,
        leaving: ExitStack,
        comment_s: float,
        headers: Mapping[str, str],
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**headers, **STREAM_HEADERS})
        self._opened = opened
        self._rim = rim
        self._hangup = hangup
        self._leaving = leaving
        self._comment_s = comment_s

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        news = News()
        live = news.put if self._opened.plan.live else None
        answering = asyncio.create_task(answer(self._opened, self._rim, live))
        answering.add_done_callback(lambda _: news.close())
        self._hangup.on_hangup(news.close)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_all(news, answering, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            # The grace period of a shutdown is over: the stream ends in an error, not in a cut.
            told = error_event(error_body(Overloaded("The gateway is shutting down.")))
            await send({"type": "http.response.body", "body": told, "more_body": False})
        finally:
            await end(answering)
            self._leaving.close()

    async def _send_all(self, news: News, answering: asyncio.Task[Group], send: Send) -> None:
        chunks, seen = Chunks(self._opened.task, self._opened.plan), Seen()

        async def write(data: bytes) -> None:
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})

        await write(chunks.role())
        while not (news.closed and not news.pending):
            if not await news.wait(self._comment_s):
                await write(COMMENT)
                continue
            pieces = news.take()
            for delta in pieces:
                seen.add(delta)
            await write(b"".join(chunk for delta in pieces for chunk in chunks.live(delta)))
        if self._hangup.happened and not answering.done():
            log.info("%s 499 client closed the stream", self._opened.task.request_id)
            return
        await write(_ending(chunks, seen, answering))


class News:
    """Deltas on their way from the engine, whichever thread it runs in, to the reply."""

    def __init__(self) -> None:
        self.closed = False
        self.pending: deque[Delta] = deque()
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def put(self, delta: Delta) -> None:
        if threading.get_ident() == self._thread:
            self._add(delta)
        else:
            self._loop.call_soon_threadsafe(self._add, delta)

    def _add(self, delta: Delta) -> None:
        self.pending.append(delta)
        self._event.set()

    def close(self) -> None:
        """No more will come. Called on the loop, after every delta that was put before."""
        self.closed = True
        self._event.set()

    async def wait(self, quiet_s: float) -> bool:
        """True when there is something to take or the end was reached, False after silence."""
        try:
            async with asyncio.timeout(quiet_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> list[Delta]:
        self._event.clear()
        if self.closed:
            self._event.set()
        taken = list(self.pending)
        self.pending.clear()
        return taken


def _ending(chunks: Chunks, seen: Seen, answering: asyncio.Task[Group]) -> bytes:
    """The rest of the stream: what is missing of the answer, or one error object."""
    if (failure := answering.exception()) is not None:
        if not isinstance(failure, VerivoteError):
            log.error("an answer failed in mid-stream", exc_info=failure)
            failure = VerivoteError()
        return error_event(error_body(failure))
    group = answering.result()
    if (error := error_of(group)) is not None:
        return error_event(error_body(error, verification_of(group)))
    return b"".join(chunks.rest(group, seen))
