"""Whatever raises, the client reads OpenAI's form."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from app.api.errors import error_from, install_handlers
from app.errors import EngineRateLimited, EngineTimeout, RequestError
from app.group import Failure
from verifiers.base import BadCheck

RAISED: dict[str, Exception] = {
    "ours": RequestError("m", param="n"),
    "limited": EngineRateLimited(retry_after_s=7.4, should_retry=True),
    "check": BadCheck("m", param="verify.verifiers[0].reference"),
    "teapot": HTTPException(418, "I am a teapot"),
    "framework": HTTPException(413, "Content Too Large"),
    "broken": HTTPException(500, "details of the fault"),
}


def app_that_raises() -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def name(request, call_next):  # type: ignore[no-untyped-def]
        request.state.request_id = "req_1"
        return await call_next(request)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise RAISED[name]

    @app.get("/number/{number}")
    async def number(number: int) -> int:
        return number

    install_handlers(app)
    return app


@pytest.mark.parametrize(
    ("path", "status", "param", "code"),
    [
        ("/raise/ours", 400, "n", "invalid_value"),
        ("/raise/limited", 429, None, "rate_limit_exceeded"),
        ("/raise/check", 400, "verify.verifiers[0].reference", "invalid_value"),
        ("/raise/teapot", 418, None, "invalid_value"),
        ("/raise/framework", 413, None, "request_too_large"),
        ("/raise/broken", 500, None, "internal_error"),
        ("/number/x", 400, "number", "invalid_value"),
        ("/nowhere", 404, None, "not_found"),
    ],
)
async def test_every_exception_becomes_an_openai_error(
    path: str, status: int, param: str | None, code: str
) -> None:
    transport = httpx.ASGITransport(app_that_raises())
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        reply = await client.get(path)

    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (status, param, code)
    assert "details" not in error["message"]


async def test_how_to_retry_is_said_in_headers() -> None:
    transport = httpx.ASGITransport(app_that_raises())
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        headers = (await client.get("/raise/limited")).headers

    assert (headers["retry-after"], headers["x-should-retry"]) == ("7", "true")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("upstream_timeout", 504, "upstream_timeout"),
        ("deadline_exceeded", 504, "upstream_timeout"),
        ("upstream_unavailable", 502, "upstream_error"),
        ("upstream_error", 502, "upstream_error"),
        ("context_length_exceeded", 400, "invalid_request_error"),
        ("some_code_of_theirs", 404, "invalid_request_error"),
        ("some_code_of_theirs", 500, "upstream_error"),
    ],
)
def test_a_failure_kept_as_data_is_the_error_it_was(code: str, status: int, kind: str) -> None:
    failure = Failure(code=code, message="m", status=status, where="engine")

    error = error_from(failure)

    assert (error.error_code, error.http_status, error.type) == (code, status, kind)
    assert isinstance(error, EngineTimeout) == (status == 504)
