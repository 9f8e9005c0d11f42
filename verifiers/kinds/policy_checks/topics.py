"""Phrases that must not appear, however they are spelled.

A phrase is found as whole words, with digits and signs read as the letters that they stand for
(`b0mb`), and from four letters on with separators between its letters (`b-o-m-b`). Synonyms,
translations and the topic without its words are not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import re2

from verifiers.kinds.policy_checks.hits import Hit
from verifiers.kinds.policy_checks.views import look_alikes

MAX_PHRASES = 500
MAX_PHRASE_CHARS = 200
SPREAD_FROM = 4
"""Letters that a word has at least to be looked for with separators inside."""


def compile_topics(phrases: Sequence[str]) -> Mapping[str, Any]:
    """Phrase → pattern. Raises ValueError for one that says nothing."""
    return {phrase: _pattern(phrase) for phrase in phrases}


def find_topics(text: str, topics: Mapping[str, Any]) -> Iterator[Hit]:
    plain = look_alikes(text).casefold()
    lines = (plain, _letters_for_signs(plain))
    for phrase, pattern in topics.items():
        if any(pattern.search(line) for line in lines):
            yield Hit("topic", phrase)


def _pattern(phrase: str) -> Any:
    words = _WORD.findall(look_alikes(phrase).casefold())
    if not words:
        raise ValueError("has no letter or digit")
    spread = r"[^\pL\pN]{1,3}".join(map(_word_pattern, words))
    return re2.compile(rf"(?:^|[^\pL\pN])(?:{spread})(?:$|[^\pL\pN])")


def _word_pattern(word: str) -> str:
    between = r"[^\pL\pN\n]{0,2}" if len(word) >= SPREAD_FROM else ""
    return between.join(re2.escape(char) for char in word)


def _letters_for_signs(text: str) -> str:
    """`b0mb` → `bomb`, only in words that have a letter: numbers stay numbers."""
    return str(_LEET.sub(lambda found: found[0].translate(_LETTER_FOR), text))


_WORD = re2.compile(r"[\pL\pN]+")
_LEET = re2.compile(r"[\pL\d@$!|]*\pL[\pL\d@$!|]*")
_LETTER_FOR = str.maketrans("013457@$!|8", "oieastasilb")
