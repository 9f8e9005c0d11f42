"""Rules about sentences: how they end, how they grow, how they share words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from verifiers.kinds.constraint_checks.instruction import (
    Holds,
    count,
    instruction,
    percent,
    phrase,
)
from verifiers.kinds.constraint_checks.lists import STOP_WORDS
from verifiers.kinds.constraint_checks.segments import (
    bare_words,
    edges_off,
    sentences,
    tokens,
    words,
)

SLACK_PERCENT = 2


@instruction("ratio:sentence_type")
def two_statements_a_question(text: str) -> bool:
    """Twice as many sentences end in a period as in a question mark, and some do."""
    period, question, _ = _ends(text)
    return period == 2 * question and question > 0


@instruction("ratio:sentence_balance")
def balanced_sentences(text: str) -> bool:
    """As many periods as question marks as exclamation marks, and some."""
    period, question, exclamation = _ends(text)
    return period == question == exclamation > 0


@instruction("ratio:sentence_words")
def three_equal_sentences(text: str) -> bool:
    """Three sentences of equally many characters, no word used twice."""
    found = sentences(text)
    used = bare_words(text)
    return len(found) == 3 and len(set(map(len, found))) == 1 and len(used) == len(set(used))


@instruction("ratio:stop_words", percentage=percent)
def few_stop_words(text: str, percentage: float) -> bool:
    found = words(text.lower())
    stops = sum(1 for word in found if word in STOP_WORDS)
    return bool(found) and 100 * stops <= percentage * len(found)


@instruction("ratio:overlap", reference_text=phrase, percentage=percent)
def trigram_overlap(text: str, reference_text: str, percentage: float) -> Holds:
    """The share of the different trigrams of the text that the reference has, within 2 points.

    Trigrams of words and trigrams of characters are both in use: None where they do not agree.
    """
    by_words = _is_near(percentage, tokens(text), tokens(reference_text))
    by_characters = _is_near(percentage, text, reference_text)
    return by_words if by_words == by_characters else None


@instruction("sentence:increment", small_n=count)
def growing_sentences(text: str, small_n: int) -> Holds:
    """Each sentence has exactly so many words more than the one before; one shows nothing."""
    lengths = [len(bare_words(sentence)) for sentence in sentences(text)]
    return all(b - a == small_n for a, b in pairwise(lengths)) if len(lengths) > 1 else None


@instruction("sentence:alliteration_increment")
def growing_alliteration(text: str) -> Holds:
    """Each sentence has more words in alliterative runs than the one before; one shows nothing."""
    runs = [_alliterative(bare_words(sentence)) for sentence in sentences(text)]
    return all(a < b for a, b in pairwise(runs)) if len(runs) > 1 else None


@instruction("words:last_first")
def chained_sentences(text: str) -> Holds:
    """The last word of each sentence is the first of the next; one sentence shows nothing."""
    found = [_real_words(sentence) for sentence in sentences(text)]
    if len(found) < 2:
        return None
    return all(found) and all(a[-1] == b[0] for a, b in pairwise(found))


@instruction("words:paragraph_last_first")
def framed_paragraphs(text: str) -> bool:
    """Each line ends with the word with which it began; one lone word does not count."""
    found = [said for line in text.split("\n") if (said := _real_words(line))]
    return bool(found) and all(len(said) > 1 and said[0] == said[-1] for said in found)


def _ends(text: str) -> tuple[int, int, int]:
    found = sentences(text)
    marks = [sentence.rstrip("\"'”’)]*_ ")[-1:] for sentence in found]
    return marks.count("."), marks.count("?"), marks.count("!")


def _is_near(percentage: float, text: Sequence[str], reference: Sequence[str]) -> bool:
    found = set(zip(text, text[1:], text[2:], strict=False))
    known = set(zip(reference, reference[1:], reference[2:], strict=False))
    return bool(found) and abs(100 * len(found & known) / len(found) - percentage) <= SLACK_PERCENT


def _alliterative(said: list[str]) -> int:
    """How many words share their first letter with a neighbour."""
    first = "".join(word[0] for word in said)
    return sum(len(run[0]) for run in _RUN.finditer(first))


def _real_words(text: str) -> list[str]:
    return [bare for word in text.lower().split() if (bare := edges_off(word))]


_RUN = re.compile(r"(.)\1+", re.DOTALL)
