"""The HTTP client that engines use: httpx, with the transport that measured faster.

The choice is in docs/decisions/0004-upstream-transport.md. Deadlines for the first byte and for
silence are not set here: `upstream` keeps them, because they differ by kind of call.
"""

from __future__ import annotations

import httpx

from app.settings import EngineSettings

KEEPALIVE_S = 30.0

TransportFault = (httpx.HTTPError, httpx.InvalidURL)
"""What the transport raises when a request or reply breaks."""


def make_client(settings: EngineSettings) -> httpx.AsyncClient:
    """A client without a limit on connections: the engine limits samples in flight itself."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(None, connect=settings.connect_s),
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEPALIVE_S
        ),
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,
    )
