"""Short texts and labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from verifiers.canonical.cleaning import MAX_PHRASE_CHARS, NotCanonical, clean, shorten_key


def choice_key(label: str, choices: Sequence[str]) -> str:
    """The allowed label that is meant. Raises `NotCanonical`."""
    wanted = clean(label).strip(" \t\n.:*_`'\"").casefold().strip("()[] ")
    for choice in choices:
        if choice.casefold() == wanted:
            return choice
    raise NotCanonical("not_a_choice")


def text_key(text: str) -> str:
    """Key of a short text. Raises `NotCanonical` when nothing is left of it."""
    if len(text) > MAX_PHRASE_CHARS:
        raise NotCanonical("too_long")
    key, before = clean(text), None
    while key != before:
        before = key
        key = unicodedata.normalize("NFKC", key.casefold())
        key = _BULLETS.sub("", " ".join(key.split())).rstrip(".,;:!? ")
        key = _ARTICLE.sub("", _unwrap(key))
    if not key:
        raise NotCanonical("no_answer")
    return shorten_key(key)


_BULLETS = re.compile(r"^(?:[-*#>•]+ )+")
_WRAPPERS = (
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("‘", "’"),
    ("«", "»"),
    ("(", ")"),
    ("[", "]"),
    ("*", "*"),
    ("_", "_"),
    ("`", "`"),
)
_ARTICLE = re.compile(r"^(?:the|an|a) (?=\S)")


def _unwrap(text: str) -> str:
    for left, right in _WRAPPERS:
        if len(text) > 2 and text.startswith(left) and text.endswith(right):
            return text[1:-1].strip()
    return text
