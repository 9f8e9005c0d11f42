"""The HTTP client that engines use: httpx over the transport of aiohttp, which measured faster.

The numbers are in docs/decisions/0004-upstream-transport.md. Limits on the first byte and on
silence are not set here: they differ by kind of call.
"""

from __future__ import annotations

import ssl
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

KEEPALIVE_S = 4.0
"""Idle sockets close before uvicorn's and llama.cpp's own 5 s, so none is reused as it dies."""

TransportFault = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError)
"""What is raised when a request or a reply breaks; the adapter lets some of aiohttp's through."""


def make_client(connect_s: float) -> httpx.AsyncClient:
    """A client without a limit on connections: the engine limits samples in flight itself.

    `connect_s` covers looking up the name, connecting and TLS.
    """
    trusted = httpx.create_ssl_context()
    return httpx.AsyncClient(
        transport=AiohttpTransport(verify=trusted, client=partial(_open_session, trusted)),
        timeout=httpx.Timeout(None, connect=connect_s, pool=connect_s),
        headers={"Accept-Encoding": "identity"},
        # A session that the server gives to one tenant's request must not ride on another's.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
    )


def _open_session(trusted: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=trusted)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def describe(fault: Exception) -> str:
    """What happened, without addresses or names of the HTTP library."""
    cause = fault.__cause__ or fault
    if isinstance(cause, aiohttp.ServerTimeoutError):
        return "connecting took too long"
    if isinstance(cause, aiohttp.ClientSSLError):
        return "its certificate is not trusted"
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(cause, aiohttp.ClientConnectorError):
        return "the connection was refused"
    return "the connection was closed or is not HTTP"
