"""The edge of every request: its id, its limits, its always-on headers, and the last resort.

One plain ASGI class does it all, because each layer costs every request. It refuses what two
servers could read differently (Content-Length with Transfer-Encoding), oversized headers and
bodies, and, while keys are off, what a web page could send: foreign Host and Origin headers.
It sets no timeout on slow headers: a proxy in front does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app.api.errors import error_reply
from app.errors import BodyTooLarge, Forbidden, Overloaded, RequestError, VerivoteError
from app.settings import LOOPBACK_HOSTS, ServerSettings

log = logging.getLogger("verivote.api")

MAX_HEADER_BYTES = 64 * 1024


class Edge:
    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._max_body_bytes = settings.max_body_bytes
        self._guards_hosts = settings.keys == "off" and "*" not in settings.allowed_hosts
        self._hosts = frozenset((*LOOPBACK_HOSTS, settings.host, *settings.allowed_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = f"req_{ULID()}"
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                elapsed_ms = round((time.perf_counter() - begun) * 1000)
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["openai-processing-ms"] = str(elapsed_ms)
            await send(message)

        if (refusal := self._refusal(scope)) is not None:
            await error_reply(refusal)(scope, receive, send_named)
            return
        try:
            await self._app(scope, self._bounded(receive), send_named)
        except asyncio.CancelledError:
            # The grace period of a shutdown is over; whoever still waits is told so.
            if started:
                raise
            await error_reply(Overloaded("The gateway is shutting down."))(
                scope, receive, send_named
            )
        except BodyTooLarge as refused:
            await error_reply(refused)(scope, receive, send_named)
        except Exception:
            log.exception("%s %s %s failed", request_id, scope["method"], scope["path"][:200])
            if started:
                return
            await error_reply(VerivoteError(_ours(request_id)))(scope, receive, send_named)

    def _refusal(self, scope: Scope) -> VerivoteError | None:
        """What is wrong with the request line and the headers, if anything is."""
        size, length, chunked, host, origin = 0, None, False, "", None
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"host":
                host = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
        if size > MAX_HEADER_BYTES:
            return RequestError(
                f"The headers are larger than {MAX_HEADER_BYTES} bytes.",
                code="headers_too_large",
                status=431,
            )
        if length is not None and chunked:
            return RequestError(
                "Send Content-Length or Transfer-Encoding, not both.", code="ambiguous_length"
            )
        if length is not None and length.isdigit() and int(length) > self._max_body_bytes:
            return self._too_large()
        if self._guards_hosts and not self._is_here(host, origin):
            return Forbidden(
                "Keys are off, so only this machine is answered; "
                "add the host to server.allowed_hosts or set server.keys to 'required'.",
                code="host_not_allowed",
            )
        return None

    def _is_here(self, host: str, origin: str | None) -> bool:
        """False for a page of another site, also one whose name resolves to this machine."""
        if host and _hostname(f"//{host}") not in self._hosts:
            return False
        return origin is None or _hostname(origin) in self._hosts

    def _bounded(self, receive: Receive) -> Receive:
        """The same messages; raises once the body outgrows the limit, whatever its length said."""
        size = 0

        async def receive_bounded() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > self._max_body_bytes:
                    raise self._too_large()
            return message

        return receive_bounded

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._max_body_bytes} bytes.")


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _ours(request_id: str) -> str:
    return f"This is a fault of the gateway; its log tells more under {request_id}."
