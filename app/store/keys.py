"""API keys: `vv-<id>-<secret>`, shown once, stored as a keyed hash.

The secret is 256 random bits, so a slow password hash would protect nothing; an HMAC under the
server's own secret does, because a stolen table alone cannot even be tested. Valid keys are
remembered for a minute, and for as long as the database is away: an outage locks nobody out who
was in.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import ConfigError, NotFound, RequestError, StoreError
from app.store.database import transact
from app.store.tables import keys
from app.store.texts import storable_text

Scope = Literal["infer", "traces:read", "traces:write", "admin", "retrain"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
REMEMBER_S = 60.0
SECRET_BYTES = 32
_FORM = re.compile(r"vv-([0-9a-f]{12})-([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """What is known of a key; its secret is not."""

    id: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    revoked_at: float | None
    """Unix seconds; None while the key is valid."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    row: KeyRow
    secret_hash: str
    read_at: float


def server_secret(path: Path) -> bytes:
    """The random secret of this server, made on first use and readable by its owner only.

    Raises `ConfigError` when the file cannot be made or read.
    """
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_bytes()
    except OSError as failed:
        raise ConfigError(f"the server secret '{path}' is out of reach: {failed}") from None
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"the server secret '{path}' is not {SECRET_BYTES} bytes long")
    return secret


def _make_secret(path: Path) -> None:
    """Of two processes that start at once, both end up with the same secret."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


class KeyRing:
    """Creates, checks and revokes keys. Every method may raise `StoreError`."""

    def __init__(self, engine: AsyncEngine, secret: bytes, *, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._engine = engine
        self._secret = secret
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}

    async def create(self, tenant: str, scopes: Sequence[str], name: str) -> tuple[KeyRow, str]:
        """A new key and its only plain text. Raises `RequestError` for an unknown scope."""
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            shown = f"unknown scope '{unknown[0]}'" if unknown else "a key needs a scope"
            raise RequestError(f"{shown}; known: {', '.join(SCOPES)}", param="scopes")
        if not tenant.strip():
            raise RequestError("the tenant has no name", param="tenant")
        row = KeyRow(
            id=secrets.token_hex(6),
            tenant=storable_text(tenant),
            name=storable_text(name),
            scopes=tuple(dict.fromkeys(scopes)),
            created_at=self._clock(),
            revoked_at=None,
        )
        plaintext = f"vv-{row.id}-{secrets.token_hex(SECRET_BYTES)}"
        values = {
            "id": row.id,
            "tenant": row.tenant,
            "name": row.name,
            "scopes": list(row.scopes),
            "created_at": row.created_at,
            "secret_hash": self._hash(plaintext),
        }
        await transact(self._engine, lambda c: c.execute(insert(keys).values(values)))
        return row, plaintext

    async def verify(self, plaintext: str) -> KeyRow | None:
        """The key that this is the plain text of, unless it is unknown or revoked."""
        match = _FORM.fullmatch(plaintext)
        if match is None:
            return None
        known = await self._look_up(match.group(1))
        if known is None or known.row.revoked_at is not None:
            return None
        is_right = hmac.compare_digest(known.secret_hash, self._hash(plaintext))
        return known.row if is_right else None

    async def list(self) -> tuple[KeyRow, ...]:
        """All keys, revoked ones too, oldest first."""
        query = select(keys).order_by(keys.c.created_at, keys.c.id)
        found = await transact(self._engine, lambda c: c.execute(query))
        return tuple(_key_row(row) for row in found.mappings())

    async def revoke(self, key_id: str) -> None:
        """Ends a key: here at once, in other processes within a minute.

        Raises `NotFound`. Revoking twice keeps the first time.
        """
        key_id = storable_text(key_id)

        async def write(connection: AsyncConnection) -> None:
            query = select(keys.c.id).where(keys.c.id == key_id)
            if (await connection.execute(query)).first() is None:
                raise NotFound(f"there is no key '{key_id}'", param="id")
            await connection.execute(
                update(keys)
                .where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
                .values(revoked_at=self._clock())
            )

        await transact(self._engine, write)
        self._remembered.pop(key_id, None)

    async def _look_up(self, key_id: str) -> _Remembered | None:
        remembered = self._remembered.get(key_id)
        now = self._clock()
        if remembered is not None and now - remembered.read_at < REMEMBER_S:
            return remembered
        query = select(keys).where(keys.c.id == key_id)
        try:
            found = await transact(self._engine, lambda c: c.execute(query))
        except StoreError:
            if remembered is None:
                raise
            return remembered
        row = found.mappings().first()
        if row is None:
            return None
        # Only keys that exist are remembered, so guesses cannot fill the memory.
        fresh = _Remembered(_key_row(row), row["secret_hash"], now)
        self._remembered[key_id] = fresh
        return fresh

    def _hash(self, plaintext: str) -> str:
        return hmac.new(self._secret, b"key\x1f" + plaintext.encode(), sha256).hexdigest()


def _key_row(row: RowMapping) -> KeyRow:
    return KeyRow(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )
