"""What every key has in common: no hidden characters, no mixed scripts, a bounded length."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_PHRASE_CHARS = 4_000
MAX_KEY_CHARS = 512
"""A longer key is its beginning and a hash of the whole."""


class NotCanonical(ValueError):
    """This text has no canonical form of the wanted kind."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """Short code: `not_a_number`, `ambiguous`, `hidden_characters`, `mixed_scripts`, …"""


def clean(text: str) -> str:
    """NFKC text. Raises `NotCanonical` on invisible characters and mixed scripts in a word."""
    if _CONTROL.search(text):
        raise NotCanonical("hidden_characters")
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text).replace("−", "-")
    previous = ""
    for char in text:
        category = unicodedata.category(char)
        joins = char in "\u200c\u200d" and previous and not previous.isascii()
        if (category == "Cf" and not joins) or category == "Cs":
            raise NotCanonical("hidden_characters")
        previous = char
    for word in _WORD.findall(text):
        if len(_scripts(word)) > 1:
            raise NotCanonical("mixed_scripts")
    return text


def shorten_key(key: str) -> str:
    """The key itself, or its beginning with a hash of all of it."""
    if len(key) <= MAX_KEY_CHARS:
        return key
    return f"{key[:80]}…#{hashlib.sha256(key.encode()).hexdigest()[:32]}"


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_CONFUSABLE = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_UNIT_GREEK = "μΩΔπ"


def _scripts(word: str) -> set[str]:
    if word[0] in _UNIT_GREEK:
        word = word[1:]
    names = {unicodedata.name(char, "").split(" ", 1)[0] for char in word}
    return names & set(_CONFUSABLE)
