"""Who is asking: a key in the header, a signed session cookie of the pages, or nobody on loopback.

With keys off everyone who can reach the loopback port is the tenant `local`; the host and origin
guards of `middleware.py` keep web pages out of it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from hashlib import sha256

import orjson
from starlette.requests import Request

from app.errors import Forbidden, Unauthenticated
from app.settings import Settings
from app.store.keys import SCOPES, KeyRing, Scope

SESSION_COOKIE = "verivote_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The caller of a request."""

    name: str
    """Whose cache, traces and limits apply."""
    scopes: tuple[str, ...]
    key_id: str | None = None
    """The key it came with; None when keys are off."""

    @property
    def sees(self) -> str | None:
        """The tenant whose traces it may read; None means all of them."""
        return None if "admin" in self.scopes else self.name

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


LOCAL = Tenant(name="local", scopes=SCOPES)


async def authenticate(request: Request, scope: Scope) -> Tenant:
    """The caller, if it may do that. Raises `Unauthenticated` or `Forbidden`."""
    settings: Settings = request.app.state.settings
    if settings.server.keys == "off":
        return LOCAL
    tenant = await _by_key(request) or _by_session(request)
    if tenant is None:
        raise Unauthenticated
    if not tenant.may(scope):
        raise Forbidden(f"This key lacks the scope '{scope}'.")
    return tenant


async def _by_key(request: Request) -> Tenant | None:
    scheme, _, plaintext = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not plaintext.strip():
        return None
    keys: KeyRing = request.app.state.keys
    return await tenant_of_key(keys, plaintext.strip())


async def tenant_of_key(keys: KeyRing, plaintext: str) -> Tenant | None:
    """The tenant of a key in plain text; None when it is not valid."""
    row = await keys.verify(plaintext)
    if row is None:
        return None
    return Tenant(name=row.tenant, scopes=row.scopes, key_id=row.id)


def _by_session(request: Request) -> Tenant | None:
    token = request.cookies.get(SESSION_COOKIE)
    if token is None:
        return None
    return verify_session(request.app.state.secret, token, now=request.app.state.rim.clock())


def sign_session(secret: bytes, tenant: Tenant, *, expires_at: float) -> str:
    """A cookie value that says who it is until `expires_at` (Unix seconds)."""
    told = orjson.dumps([tenant.name, tenant.key_id, tenant.scopes, expires_at])
    return f"{_encode(told)}.{_encode(_signature(secret, told))}"


def verify_session(secret: bytes, token: str, *, now: float) -> Tenant | None:
    """The tenant of an untouched, unexpired session; None for any other text."""
    body, _, signature = token.partition(".")
    try:
        told, signed = _decode(body), _decode(signature)
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(signed, _signature(secret, told)):
        return None
    name, key_id, scopes, expires_at = orjson.loads(told)
    if now >= expires_at:
        return None
    return Tenant(name=name, key_id=key_id, scopes=tuple(scopes))


def _signature(secret: bytes, told: bytes) -> bytes:
    return hmac.new(secret, b"session\x1f" + told, sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
