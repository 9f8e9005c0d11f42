"""Templates, static files and the headers of every page.

Nothing remote is ever loaded: the policy sent with each page allows this server only, and no inline
script or style.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from app.ui.shown import reveal

HERE = Path(__file__).parent
STATIC = HERE / "static"
STATIC_URL = "/static/ui"

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def render(template: str, status: int = 200, **variables: Any) -> HTMLResponse:
    """A page. Every variable is escaped, and concealed characters in it are written out."""
    html = environment().get_template(template).render(**variables)
    return HTMLResponse(html, status_code=status, headers=HEADERS | {"Cache-Control": "no-store"})


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    made.globals["static"] = static_url
    return made


def static_url(name: str) -> str:
    """Address of a static file; it changes with the content, so the file may be kept for ever."""
    return f"{STATIC_URL}/{name}?v={hashlib.sha256(_read(name)).hexdigest()[:12]}"


def static_response(name: str) -> Response | None:
    """The static file, or None when there is no such file."""
    if name not in static_names():
        return None
    headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_read(name), media_type=_MEDIA_TYPES[Path(name).suffix], headers=headers)


@cache
def static_names() -> frozenset[str]:
    return frozenset(file.name for file in STATIC.iterdir() if file.suffix in _MEDIA_TYPES)


@cache
def _read(name: str) -> bytes:
    return (STATIC / name).read_bytes()


def _finalize(value: Any) -> Any:
    """The last stop of every value on its way into a page."""
    return reveal(value) if isinstance(value, str) and not isinstance(value, Markup) else value
