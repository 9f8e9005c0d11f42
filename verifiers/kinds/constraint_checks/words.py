"""Rules that every word must keep."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from verifiers.kinds.constraint_checks.instruction import Holds, count, instruction
from verifiers.kinds.constraint_checks.lists import listed
from verifiers.kinds.constraint_checks.segments import bare_words

VOWELS = frozenset("aeiou")
MAX_VOWEL_KINDS = 3


@instruction("words:alphabet")
def alphabet_loop(text: str) -> bool:
    """Each word starts with the letter after that of the word before; `a` follows `z`."""
    first = [word[0] for word in bare_words(text)]
    if len(first) < 2 or not all("a" <= letter <= "z" for letter in first):
        return False
    return all((ord(b) - ord(a)) % 26 == 1 for a, b in pairwise(first))


@instruction("words:consonants")
def consonant_clusters(text: str) -> bool:
    """Every word has two consonants side by side."""
    found = bare_words(text)
    return bool(found) and all(_CLUSTER.search(word) for word in found)


@instruction("words:vowel")
def few_vowels(text: str) -> bool:
    """One paragraph with at most three of the five vowels."""
    return "\n" not in text.strip() and len(VOWELS & set(text.lower())) <= MAX_VOWEL_KINDS


@instruction("words:prime_lengths")
def prime_lengths(text: str) -> bool:
    found = bare_words(text)
    return bool(found) and all(_is_prime(length) for length in set(map(len, found)))


@instruction("words:repeats", small_n=count)
def few_repeats(text: str, small_n: int) -> bool:
    """No word more often than that."""
    return max(Counter(bare_words(text)).values(), default=0) <= small_n


@instruction("words:no_consecutive")
def no_shared_first_letters(text: str) -> bool:
    """No two words in a row with the same first letter."""
    return all(a[0] != b[0] for a, b in pairwise(bare_words(text)))


@instruction("words:odd_even_syllables")
def alternating_syllables(text: str) -> Holds:
    """Odd and even numbers of syllables in turn; None where a count is not certain."""
    parities = [_syllable_parity(word) for word in bare_words(text)]
    pairs = list(pairwise(parities))
    if any(a == b is not None for a, b in pairs):
        return False
    return None if not pairs or None in parities else True


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))


def _syllable_parity(word: str) -> int | None:
    """0 or 1 for plainly spelled words, else None.

    Certain: single vowels between consonants, with no ending or pattern that is often silent.
    """
    if word in _ONE_SYLLABLE:
        return 1
    if not word.isascii() or not word.isalpha() or _UNCERTAIN.search(word):
        return None
    found = len(_VOWEL.findall(word))
    return found % 2 if found else None


_CLUSTER = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")
_VOWEL = re.compile("[aeiouy]")
_UNCERTAIN = re.compile(
    r"[aeiouy]{2}|e$|e[ds]$|[^aeiouy]e[^aeiouy]|er[aeiouy]|sm$|thm|sms$|^[^aeiouy]+$|qu|gu"
)
_ONE_SYLLABLE = frozenset(
    listed(
        "the a i be he she we me my by to do so go no of in on at as is it if or an and but for"
        " not you your our out all are was were had has have him her his its their them they this"
        " that these those then than there where here when what who how why can could would should"
        " will may might must shall did does done one two three four five six eight nine ten such"
        " most more much some each both from with up down off just like time life world been seen"
        " come make take give new old good great long way day year work place part man men hand eye"
    )
)
