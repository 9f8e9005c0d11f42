"""A text cut into words, sentences, paragraphs and lines, the way the instructions mean them.

Sentences are found by rules about full stops, abbreviations and what follows; no rule finds them
all, so checkers that count sentences are exact only for ordinary prose. Everything is linear.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable

from verifiers.kinds.constraint_checks.lists import listed

PUNCTUATION = string.punctuation


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores: `don't` is two, as in IFEval."""
    return _WORD.findall(text)


def bare_words(text: str) -> list[str]:
    """Words between spaces, lower case, every punctuation mark taken out."""
    return [bare for word in text.split() if (bare := strip_marks(word.lower()))]


def strip_marks(word: str) -> str:
    """The word without punctuation and symbols anywhere in it."""
    if word.isalnum():
        return word
    return "".join(char for char in word if unicodedata.category(char)[0] not in "PSC")


def tokens(text: str) -> list[str]:
    """Words and punctuation marks apart; `don't` is `do` and `n't`, `U.S.` stays whole."""
    return _TOKEN.findall(text)


def lines(text: str) -> list[str]:
    """Lines that are not blank, with their indentation."""
    return [line for line in text.split("\n") if line.strip()]


def paragraphs(text: str) -> list[str]:
    """Parts between blank lines, without blank parts."""
    return [part.strip() for part in _BLANK_LINE.split(text) if part.strip()]


def sentences(text: str) -> list[str]:
    """Sentences in order, each with its closing mark and quotes."""
    found, start = [], 0
    for end in _END.finditer(text):
        if _ends_here(text, start, end):
            found.append(text[start : end.end()])
            start = end.end()
    found.append(text[start:])
    return [sentence.strip() for sentence in found if sentence.strip()]


def whole_word(word: str) -> re.Pattern[str]:
    """Finds a word or phrase, not a part of a longer word, in any case."""
    body = r"\s+".join(re.escape(part) for part in word.split())
    return re.compile(rf"(?<!\w){body}(?!\w)", re.IGNORECASE)


def count_word(word: str, text: str) -> int:
    return sum(1 for _ in whole_word(word).finditer(text))


def edges_off(word: str) -> str:
    """The word without punctuation at its ends."""
    return word.strip(_EDGES)


def contains_all(wanted: Iterable[str], text: str) -> bool:
    return all(whole_word(word).search(text) for word in wanted)


def _ends_here(text: str, start: int, end: re.Match[str]) -> bool:
    """Whether these marks close a sentence."""
    if end["mark"][-1] != ".":
        return True
    following = text[end.end() : end.end() + 60].lstrip()
    if end["mark"].endswith(".."):
        return not following[:1].islower()
    before = text[max(start, end.start() - 40) : end.start()].split()
    last = before[-1].lstrip("([{\"'“‘*_") if before else ""
    if len(last) == 1 and last.isalpha() and last.isupper() and last != "I":
        return False
    lower = last.lower()
    if lower in _TITLES:
        return False
    if lower in _ABBREVIATIONS or _DOTTED.fullmatch(lower):
        return following[:1].isupper() and lower not in _MID_SENTENCE
    return True


_EDGES = string.punctuation + "“”‘’…–—" + string.whitespace
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(
    r"(?:[A-Za-z]\.){2,}|\d+(?:[.,:]\d+)*|\w+(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b"
    r"|\w+(?:-\w+)*|\.{2,}|``|''|--+|[^\w\s]",
    re.IGNORECASE,
)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_END = re.compile(r"(?P<mark>[.!?]{1,8}|…)[\"'”’)\]}*_]{0,4}(?=\s|$)")
_DOTTED = re.compile(r"(?:[a-z]\.){1,4}[a-z]")
_TITLES = frozenset(
    listed("mr mrs ms mx dr prof rev hon st sr jr gen col capt lt sgt maj gov sen rep pres fr")
)
_MID_SENTENCE = frozenset(["e.g", "i.e", "vs", "cf", "fig", "no", "vol", "pp", "al", "viz"])
_ABBREVIATIONS = frozenset(
    listed(
        "e.g i.e etc vs cf fig vol pp al viz inc ltd co corp dept approx est jan feb mar apr jun"
        " jul aug sep sept oct nov dec a.m p.m u.s u.k ph.d"
    )
)
