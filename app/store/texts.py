"""Texts inside records: visit all of them, and make them storable.

Postgres keeps no NUL and no encoding keeps a lone surrogate, but a client or a model can send both.
They are replaced by a visible stand-in, and the group says so. What texts *mean* (secrets, personal
data) is the business of `content.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError

from app.group import Group

NUL = "\x00"
NUL_STAND_IN = "\u2400"

T = TypeVar("T")


def map_texts(value: T, change: Callable[[str], str]) -> T:
    """The same value with every string in it changed: fields, items, keys and values."""
    changed: Any = value
    if isinstance(value, str):
        # An enum member is a string too, but a word of ours.
        changed = change(value) if type(value) is str else value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        changed = dataclasses.replace(
            value, **{name: map_texts(part, change) for name, part in fields.items()}
        )
    elif isinstance(value, Mapping):
        changed = {map_texts(k, change): map_texts(v, change) for k, v in value.items()}
    elif isinstance(value, tuple):
        changed = tuple(map_texts(part, change) for part in value)
    elif isinstance(value, list):
        changed = [map_texts(part, change) for part in value]
    return changed  # type: ignore[no-any-return]


def storable_text(text: str) -> str:
    """A text that any database keeps: NUL and lone surrogates become stand-ins."""
    return without_surrogates(text).replace(NUL, NUL_STAND_IN)


def without_surrogates(text: str) -> str:
    """Each lone surrogate becomes U+FFFD; two that make a pair become their character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_spool_json(group: Group) -> bytes:
    """JSON of a group, NUL included; lone surrogates, which have no encoding, are replaced."""
    try:
        return group.to_json()
    except PydanticSerializationError:
        whole = map_texts(group, without_surrogates)
        return dataclasses.replace(whole, altered=(*group.altered, "bad_unicode")).to_json()


def from_spool_json(data: bytes) -> Group:
    """The group as the database holds it: each NUL is shown as U+2400, and `altered` says so.

    Raises pydantic's ValidationError when the data is not a group.
    """
    group = Group.from_json(data)
    if b"\\u0000" not in data:
        return group
    shown = map_texts(group, lambda text: text.replace(NUL, NUL_STAND_IN))
    if shown == group:
        return group
    digest = group.original_sha256 or hashlib.sha256(data).hexdigest()
    return dataclasses.replace(shown, altered=(*group.altered, "nul"), original_sha256=digest)
