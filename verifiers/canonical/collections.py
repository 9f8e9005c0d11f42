"""Sets and lists of short answers: one key for every way to write the same items."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from verifiers.algebra.values import Policy, vote_key
from verifiers.canonical.cleaning import NotCanonical, clean, shorten_key
from verifiers.canonical.numbers import number_key, read_number
from verifiers.canonical.texts import text_key
from verifiers.strict_json import NotStrictJson, dump_canonical, parse_json

MAX_ITEMS = 256
MAX_COLLECTION_CHARS = 8_000


def collection_key(items: Sequence[str], *, ordered: bool, dedup: bool) -> str:
    """Key of items as written: their keys as a JSON array, sorted unless order matters."""
    return join_keys(item_keys(items, ordered=ordered, dedup=dedup))


def item_keys(items: Sequence[str], *, ordered: bool, dedup: bool) -> list[str]:
    """The key of every item that counts, sorted unless order matters."""
    if not 0 < len(items) <= MAX_ITEMS:
        raise NotCanonical("no_answer" if not items else "too_long")
    keys = [item_key(item) for item in items]
    if dedup:
        keys = list(dict.fromkeys(keys))
    return keys if ordered else sorted(keys)


def join_keys(keys: Sequence[str]) -> str:
    return shorten_key(json.dumps(list(keys), ensure_ascii=False, separators=(",", ":")))


def item_key(item: str) -> str:
    """One item: a number by its value, a formula by its form, else a short text."""
    plain = item.strip().strip("$").strip()
    if _NUMERIC.fullmatch(plain):
        return number_key(read_number(plain))
    if "\\" in plain:
        return vote_key(plain, Policy())
    return text_key(item)


def split_items(text: str, separator: str = "") -> list[str]:
    """The items of a written list: a JSON array, bullet lines, or parts between separators.

    Without a separator it is lines when there are several, else `;`, else commas and a last `and`.
    """
    if len(text) > MAX_COLLECTION_CHARS:
        raise NotCanonical("too_long")
    text = clean(text).strip().strip("$").strip()
    array = _json_items(text)
    if array is not None:
        return array
    text = _unwrapped(text.replace("\\left", "").replace("\\right", "")).rstrip(".")
    lines = [_BULLET.sub("", line) for line in text.split("\n") if line.strip()]
    if separator == "newline" or (not separator and len(lines) > 1):
        parts = lines
    elif separator:
        parts = text.split(separator)
    elif ";" in text:
        parts = text.split(";")
    else:
        parts = _COMMAS.split(text)
    items = [part.strip() for part in parts]
    if len(items) > 1 and not all(items):
        raise NotCanonical("ambiguous")
    return [item for item in items if item]


def _json_items(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        array = parse_json(text)
    except NotStrictJson:
        return None
    if not isinstance(array, list):
        return None
    return [item if isinstance(item, str) else dump_canonical(item) for item in array]


def _unwrapped(text: str) -> str:
    for left, right in (("\\{", "\\}"), ("{", "}"), ("[", "]"), ("(", ")")):
        inside = text[len(left) : -len(right)]
        if text.startswith(left) and text.endswith(right) and len(text) > len(left + right):
            return inside.strip() if left[-1] not in inside else text
    return text


_NUMERIC = re.compile(r"[-+−]?[$€£]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?%?")
_BULLET = re.compile(r"^\s*(?:[-*•+]|\(?[0-9]{1,3}[.)])\s+")
_COMMAS = re.compile(r",\s{0,4}(?:and|or|&)\s{1,4}|,|\s{1,4}(?:and|or|&)\s{1,4}", re.IGNORECASE)
