"""Numbers, names and kinds of words that are counted."""

from __future__ import annotations

import re

from verifiers.kinds.constraint_checks.instruction import count, instruction, position
from verifiers.kinds.constraint_checks.lists import CONJUNCTIONS, PERSON_NAMES, PRONOUNS
from verifiers.kinds.constraint_checks.segments import edges_off, tokens

MIN_PALINDROMES = 10
MIN_PALINDROME_CHARS = 5


@instruction("count:conjunctions", small_n=count)
def conjunctions(text: str, small_n: int) -> bool:
    """Different ones, in any case."""
    return len(CONJUNCTIONS & {edges_off(word).lower() for word in text.split()}) >= small_n


@instruction("count:numbers", N=count)
def numbers(text: str, N: int) -> bool:
    """Written in digits; `1,234.5` is one number."""
    return len(_NUMBER.findall(text)) == N


@instruction("count:person_names", N=count)
def person_names(text: str, N: int) -> bool:
    """Different ones from the list that the instruction gives."""
    return len(PERSON_NAMES & set(_NAME.findall(text))) >= N


@instruction("count:pronouns", N=count)
def pronouns(text: str, N: int) -> bool:
    return sum(1 for token in tokens(text.lower()) if token in PRONOUNS) >= N


@instruction("count:unique_word_count", N=count)
def unique_words(text: str, N: int) -> bool:
    return len({bare for word in text.lower().split() if (bare := edges_off(word))}) >= N


@instruction("count:words_japanese", N=position)
def every_nth_word_japanese(text: str, N: int) -> bool:
    """Numbers are left alone; a text of fewer than N words has no such word and fails."""
    found = text.split()
    nth = [bare for word in found[N - 1 :: N] if (bare := edges_off(word)) and not bare.isdigit()]
    return bool(nth) and all(_JAPANESE.search(word) for word in nth)


@instruction("words:palindrome")
def palindromes(text: str) -> bool:
    """Ten different words of five letters or more that read the same backwards."""
    found = {
        word for word in map(edges_off, text.lower().split()) if word.isalpha() and _same(word)
    }
    return len(found) >= MIN_PALINDROMES


def _same(word: str) -> bool:
    return len(word) >= MIN_PALINDROME_CHARS and word == word[::-1]


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"\b[A-Z][a-z]+\b")
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
