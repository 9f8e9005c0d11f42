"""How a text that nobody vouches for is shown to a model: fenced by a nonce, its markup defused.

The fence says where the text ends, so an instruction inside it stays a quotation; it does not make
a model immune to one. Replies are read strictly: what is not the JSON that was asked for is no
reply.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from verifiers.extract import after_thinking, unfence_json
from verifiers.strict_json import NotStrictJson, parse_json

MAX_SHOWN_CHARS = 24_000
"""Longest candidate that is shown to a judge; a longer one is an error, never cut."""

_CHAT_TOKEN = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_HIDDEN = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")


class BadReply(ValueError):
    """A model did not answer in the form that was asked for."""


def make_nonce() -> str:
    return secrets.token_hex(6)


def fence(label: str, text: str, nonce: str) -> str:
    """The text between marks that it cannot have guessed, without chat tokens or hidden signs."""
    plain = _HIDDEN.sub("", _CHAT_TOKEN.sub("[token removed]", text)).replace(nonce, "")
    return f"<{label} {nonce}>\n{plain}\n</{label} {nonce}>"


def read_reply(text: str) -> Mapping[str, Any]:
    """The JSON object of a reply. Raises `BadReply`."""
    said = after_thinking(text) or ""
    try:
        value = parse_json(unfence_json(said) or said)
    except NotStrictJson as refused:
        raise BadReply(refused.reason) from None
    if not isinstance(value, Mapping):
        raise BadReply("not_an_object")
    return value


def read_entries(
    reply: Mapping[str, Any], field: str, ids: tuple[str, ...], word: str, words: tuple[str, ...]
) -> dict[str, tuple[str, str]]:
    """Reasons and word of every entry, by id. Raises `BadReply` unless all are there, once.

    An entry without reasons is refused: a judge that gives none has not looked. Reasons that only
    repeat the form of the reply are none.
    """
    form = {*ids, *words, word, "reasons"}
    entries = reply.get(field)
    if not isinstance(entries, list):
        raise BadReply(f"no_{field}")
    found: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise BadReply("entry_is_no_object")
        name, reasons, said = entry.get("id"), entry.get("reasons"), entry.get(word)
        if name not in ids or name in found or said not in words:
            raise BadReply(f"bad_{field}")
        if not isinstance(reasons, str) or set(_WORD.findall(reasons)) <= form:
            raise BadReply("no_reasons")
        found[name] = (reasons.strip(), said)
    if found.keys() != set(ids):
        raise BadReply(f"missing_{field}")
    return found


def entries_schema(
    field: str, ids: tuple[str, ...], word: str, words: tuple[str, ...]
) -> dict[str, Any]:
    """The JSON Schema of such a reply; reasons come before the word, so they can lead to it."""
    entry = {
        "type": "object",
        "properties": {
            "id": {"enum": list(ids)},
            "reasons": {"type": "string", "minLength": 1, "maxLength": 600},
            word: {"enum": list(words)},
        },
        "required": ["id", "reasons", word],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            field: {"type": "array", "items": entry, "minItems": len(ids), "maxItems": len(ids)}
        },
        "required": [field],
        "additionalProperties": False,
    }
