"""Values that leave this process are sealed: who can write to the store cannot plant an answer.

HMAC-SHA256 over the name under which a value is kept and the value, with a key that the store never
sees. It hides nothing, and it does not keep a writer from deleting, nor from putting an older value
back under its own name; entries carry their own date against that.
"""

from __future__ import annotations

import hmac
import zlib
from hashlib import sha256

MAC_BYTES = 32
SEAL_BYTES = MAC_BYTES + 1
"""What a seal adds to a value at most."""
COMPRESS_FROM = 512
_PLAIN, _DEFLATED = b"p", b"z"


class BadSeal(ValueError):
    """This value was not written by a gateway with this key, or not under this name."""


class Seal:
    """Signs and opens values. Two gateways share them when they have the same key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.key_id = sha256(b"key id\x1f" + key).hexdigest()[:8]
        """Names the key without telling it; values of other keys are kept under other names."""

    def close(self, name: str, value: bytes) -> bytes:
        """Signature, one byte of form, and the value, compressed where that saves a fifth."""
        body = _PLAIN + value
        if len(value) >= COMPRESS_FROM:
            packed = zlib.compress(value, 1)
            if len(packed) <= 0.8 * len(value):
                body = _DEFLATED + packed
        return self._mac(name, body) + body

    def open(self, name: str, sealed: bytes) -> bytes:
        """Raises `BadSeal`; nothing is unpacked before its signature was checked."""
        mac, body = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(name, body)):
            raise BadSeal(name)
        return zlib.decompress(body[1:]) if body[:1] == _DEFLATED else body[1:]

    def _mac(self, name: str, body: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + b"\0" + body, "sha256")
