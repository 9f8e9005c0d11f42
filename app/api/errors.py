"""Failures as OpenAI error replies. It only renders: what failed was named where it failed.

Every reply of the server that is not a success has this one shape, whoever raised: our own tree,
the framework, or a bug (500, with the request id that is also in the log).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api.invalid import param_of
from app.errors import (
    BodyTooLarge,
    EngineError,
    EngineRefused,
    EngineTimeout,
    NotFound,
    RequestError,
    VerivoteError,
)
from app.group import Failure
from verifiers.base import BadCheck

log = logging.getLogger("verivote.api")

RETRY_AFTER_S = 1.0


class ClientGone(VerivoteError):
    """The client closed the connection."""

    status = 499
    type = "client_error"
    code = "client_closed_request"


class MethodNotAllowed(RequestError):
    """This address does not answer that method."""

    status = 405
    code = "method_not_allowed"


class Json(Response):
    """A JSON body, written by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def error_body(
    error: VerivoteError, verification: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`; `verification` when a group stands behind.

    It goes inside the error, where OpenAI's clients keep it (`exception.body`).
    """
    told: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.error_code,
    }
    if verification is not None:
        told["verification"] = verification
    return {"error": told}


def error_reply(
    error: VerivoteError,
    headers: Mapping[str, str] | None = None,
    verification: Mapping[str, Any] | None = None,
) -> Json:
    return Json(
        error_body(error, verification),
        error.http_status,
        {**(headers or {}), **_headers_of(error)},
    )


def error_from(failure: Failure, *, paid: bool = False) -> VerivoteError:
    """A failure that was kept as data, as the error it once was.

    `paid`: tokens were spent on it, so a client that repeats it at once would pay again.
    """
    by_code = {cls.code: cls for cls in _tree(VerivoteError) if "code" in vars(cls)}
    cls = by_code.get(failure.code)
    if cls is None:
        cls = EngineTimeout if failure.status == 504 else EngineError
        cls = EngineRefused if failure.status < 500 else cls
    return cls(
        failure.message,
        code=failure.code,
        status=failure.status,
        retry_after_s=RETRY_AFTER_S if failure.status in (502, 503, 504) else None,
        should_retry=False if paid else None,
    )


def install_handlers(app: FastAPI) -> None:
    """Give every exception of a request its reply."""
    app.add_exception_handler(VerivoteError, _on_ours)
    app.add_exception_handler(BadCheck, _on_bad_check)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_gone)


async def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, VerivoteError)
    if error.http_status == ClientGone.status:
        return await _on_gone(request, error)
    if error.http_status >= 500:
        log.warning("%s %s: %s", request.state.request_id, error.error_code, error.message)
    return error_reply(error)


async def _on_gone(request: Request, error: Exception) -> Response:
    """Nobody reads this reply; the line in the log is what remains."""
    log.info("%s 499 client closed the connection", request.state.request_id)
    return error_reply(ClientGone())


async def _on_bad_check(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadCheck)
    return error_reply(RequestError(error.message, param=error.param or None))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = param_of(first["loc"][1:])
    return error_reply(RequestError(f"'{param}': {first['msg']}.", param=param or None))


async def _on_http(request: Request, error: Exception) -> Response:
    """What the framework itself raises: no such path, wrong method, unreadable body."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    ours: VerivoteError
    if error.status_code == 404:
        ours = NotFound(f"There is nothing at {where}.")
    elif error.status_code == 405:
        ours = MethodNotAllowed(f"{where} is not supported.")
    elif error.status_code == 413:
        ours = BodyTooLarge()
    elif error.status_code < 500:
        ours = RequestError(str(error.detail), status=error.status_code)
    else:
        ours = VerivoteError(status=error.status_code)
    return error_reply(ours, error.headers)


def _headers_of(error: VerivoteError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def _tree(root: type[VerivoteError]) -> Iterator[type[VerivoteError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)
