"""Forms that change something: they must come from a page of this server.

Two locks: the browser's own word about where the request comes from, and a token that only a page
of this server carries.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from urllib.parse import parse_qsl

from starlette.requests import Request

from app.api.auth import SESSION_COOKIE
from app.errors import BodyTooLarge, Forbidden, RequestError

FORM_BYTES = 16_384


def form_token(request: Request) -> str:
    """The token for forms of this reader: bound to the session, or to the server without one."""
    session = request.cookies.get(SESSION_COOKIE, "local")
    secret: bytes = request.app.state.secret
    return hmac.new(secret, b"form\x1f" + session.encode(), sha256).hexdigest()


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form from this origin. Raises `Forbidden`, `RequestError`, `BodyTooLarge`."""
    check_origin(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise BodyTooLarge(f"The form is larger than {FORM_BYTES} bytes.")
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=20, errors="strict"
        )
    except ValueError:
        raise RequestError("The form cannot be read.") from None
    return dict(fields)


def check_origin(request: Request) -> None:
    """Raises `Forbidden` unless the browser says that the request comes from this server."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        same = site == "same-origin"
    else:
        same = origin is not None and origin.partition("://")[2] == request.headers.get("host")
    if not same:
        raise Forbidden("This form must be sent from a page of this server.")


def check_token(request: Request, given: str) -> None:
    """Raises `Forbidden` unless the form carries this reader's token."""
    if not hmac.compare_digest(form_token(request).encode(), given.encode()):
        raise Forbidden("This page is out of date. Reload it and try again.")
