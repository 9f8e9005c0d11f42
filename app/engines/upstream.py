"""One model server over HTTP: requests, deadlines, retries before the first byte, errors by type.

It knows statuses and transport faults, not completions. Whatever goes wrong leaves as an
`EngineError`; a cancelled caller closes its socket on the way out.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx

from app.engines.limits import RetryBudget
from app.engines.transport import TransportFault, describe, make_client
from app.engines.wire import read_json
from app.errors import (
    EngineError,
    EngineGarbage,
    EngineRateLimited,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from app.settings import EngineSettings

MAX_ERROR_BYTES = 64 * 2**10
MAX_LIST_BYTES = 4 * 2**20
LONGEST_RETRY_AFTER_S = 2.0
"""A longer Retry-After is passed on to the client instead of waited for."""
COME_BACK_S = 1.0
"""Retry-After of a server that is away and did not say when it will be back."""
BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 2.0
RETRIED = (EngineUnavailable, EngineRateLimited)
"""No connection, 502, 503, 504 and 429; whatever else came may come again."""


class Exchanged(NamedTuple):
    """A reply that was read to its end."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def said(self) -> str:
        """What an error reply says, for a person."""
        try:
            message = _error_object(read_json(self.data)).get("message")
        except EngineGarbage:
            message = None
        return message or f"status {self.status}"


class Upstream:
    """The server behind one engine. `rng` spreads retries."""

    def __init__(
        self, settings: EngineSettings, name: str, *, rng: random.Random | None = None
    ) -> None:
        self.settings = settings
        self.name = name
        self._client = make_client(settings.connect_s)
        self._rng = rng or random.Random()
        self._budget = RetryBudget()

    async def close(self) -> None:
        await self._client.aclose()

    async def get_json(self, path: str, *, within_s: float) -> Any:
        """GET below the base address, once. Raises `EngineError`."""
        reply = await self.exchange("GET", path, None, within_s=within_s)
        if reply.status != 200:
            raise error_of(reply.status, reply.data, reply.headers, self.name)
        return read_json(reply.data)

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        within_s: float,
        beside_v1: bool = False,
    ) -> Exchanged:
        """One request and its whole reply, whatever its status. Raises `EngineError`.

        `beside_v1`: the path is not below the `/v1` that the base address ends with.
        """
        base = self.settings.base_url
        address = (base.removesuffix("/v1") if beside_v1 else base) + path
        try:
            async with asyncio.timeout(within_s):
                response = await self._send(method, address, body)
                try:
                    data = await read_capped(response, MAX_LIST_BYTES)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise EngineTimeout(
                f"The model server did not answer {method} {path} within {within_s:g} s."
            ) from None
        return Exchanged(response.status_code, response.headers, data)

    async def answers(self, path: str, *, within_s: float) -> bool:
        """True when GET gets a reply that is neither a server fault nor a refused key."""
        try:
            async with asyncio.timeout(within_s):
                response = await self._send("GET", self.settings.base_url + path, None)
                await response.aclose()
        except (TimeoutError, EngineError):
            return False
        return response.status_code < 500 and response.status_code not in (401, 403)

    async def post(
        self, path: str, body: bytes, *, first_byte_s: float, on_attempt: Callable[[], None]
    ) -> httpx.Response:
        """POST until the head of a 200 reply is there, retrying what was not begun.

        The caller reads and closes the response. Raises `EngineError`.
        """
        self._budget.called()
        for attempt in range(self.settings.retries + 1):
            on_attempt()
            try:
                return await self._post_once(path, body, first_byte_s)
            except EngineError as error:
                wait_s = self._wait_before_retry(error, attempt)
                if wait_s is None:
                    if isinstance(error, EngineUnavailable | EngineTimeout):
                        error.retry_after_s = error.retry_after_s or COME_BACK_S
                    raise
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def _post_once(self, path: str, body: bytes, first_byte_s: float) -> httpx.Response:
        try:
            async with asyncio.timeout(first_byte_s):
                response = await self._send("POST", self.settings.base_url + path, body)
                if response.status_code == 200:
                    return response
                try:
                    data = await read_capped(response, MAX_ERROR_BYTES)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise EngineTimeout(
                f"The model server sent no first byte within {first_byte_s:g} s."
            ) from None
        raise error_of(response.status_code, data, response.headers, self.name)

    async def _send(self, method: str, address: str, body: bytes | None) -> httpx.Response:
        if self._client.is_closed:
            raise EngineUnavailable(f"The engine '{self.name}' has been closed.")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        try:
            request = self._client.build_request(method, address, content=body, headers=headers)
            return await self._client.send(request, stream=True)
        except TransportFault as fault:
            raise unavailable(fault, self.settings.base_url) from None

    def _key(self) -> str:
        """The key itself; read from the environment each time, so it can be replaced."""
        key = self.settings.api_key
        if not key.startswith("env:"):
            return key
        name = key.removeprefix("env:")
        if name not in os.environ:
            raise EngineError(
                f"engines.{self.name}.api_key names the environment variable '{name}', "
                "which is not set"
            )
        return os.environ[name]

    def _wait_before_retry(self, error: EngineError, attempt: int) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        if attempt == self.settings.retries or not isinstance(error, RETRIED):
            return None
        if error.retry_after_s is not None and error.retry_after_s > LONGEST_RETRY_AFTER_S:
            return None
        if not self._budget.take():
            return None
        backoff_s = self._rng.uniform(0, min(LONGEST_BACKOFF_S, BACKOFF_S * 2**attempt))
        return max(backoff_s, error.retry_after_s or 0.0)


async def read_capped(response: httpx.Response, max_bytes: int) -> bytes:
    """The whole body. Raises `EngineGarbage` past the cap, `EngineUnavailable` when it is cut."""
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in response.aiter_bytes():
            parts.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                raise EngineGarbage(f"The model server's reply is larger than {max_bytes} bytes.")
    except TransportFault as fault:
        raise cut(fault) from None
    return b"".join(parts)


def unavailable(fault: Exception, address: str) -> EngineError:
    """The fault of a request that got no reply."""
    if isinstance(fault, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return EngineError(f"'{address}' is not an address of a model server.")
    return EngineUnavailable(f"The model server at {address} cannot be reached: {describe(fault)}.")


def cut(fault: Exception) -> EngineError:
    """The fault of a reply that broke off or was no HTTP."""
    return EngineUnavailable(f"The model server broke off its reply: {describe(fault)}.")


def error_of(status: int, data: bytes, headers: Mapping[str, str], name: str) -> EngineError:
    """The error for a reply that is not 200."""
    try:
        parsed = read_json(data)
    except EngineGarbage:
        parsed = None
    return refusal_of(status, parsed, headers, name)


def refusal_of(status: int, parsed: Any, headers: Mapping[str, str], name: str) -> EngineError:
    """The error for a status and the JSON body that came with it, if any.

    400, 404, 413 and 422 are the client's and pass with the server's message, param and code. A
    refused key is the gateway's own trouble, never the client's.
    """
    said = _error_object(parsed)
    message = said.get("message") or f"The model server answered with status {status}."
    retry_after_s = _retry_after_s(headers)
    if status in (401, 403):
        return EngineError(
            f"The model server refused the gateway's own key (status {status}): "
            f"check engines.{name}.api_key.",
            should_retry=False,
        )
    if status == 429:
        return EngineRateLimited(message, retry_after_s=retry_after_s)
    if status in (502, 503, 504):
        return EngineUnavailable(
            f"The model server is not available (status {status}): {message}",
            retry_after_s=retry_after_s,
        )
    if status == 404 and "model" not in " ".join(said.values()).lower():
        return EngineError(
            f"The model server has no chat completions at this address (status 404): "
            f"check engines.{name}.base_url; it usually ends in /v1."
        )
    if status in (400, 404, 413, 422):
        code = said.get("code") or ("model_not_found" if status == 404 else "invalid_value")
        return EngineRefused(
            message,
            param=said.get("param"),
            code=code,
            status=400 if status == 422 else status,
            should_retry=False,
        )
    if 300 <= status < 400:
        return EngineGarbage(
            f"The model server answered with a redirect (status {status}), "
            "which is not followed: set its final address."
        )
    return EngineError(f"The model server failed (status {status}): {message}")


def _error_object(parsed: Any) -> dict[str, str]:
    """`message`, `param`, `code` as far as they are text; servers differ in where they put them."""
    if not isinstance(parsed, Mapping):
        return {}
    inner = parsed.get("error", parsed)
    if isinstance(inner, str):
        return {"message": inner[:1000]}
    if not isinstance(inner, Mapping):
        return {}
    said = {
        key: value[:1000]
        for key in ("message", "param", "code")
        if isinstance(value := inner.get(key), str) and value
    }
    if "message" not in said and "detail" in inner:
        said["message"] = str(inner["detail"])[:1000]
    return said


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return seconds if 0 <= seconds < 86_400 else None
