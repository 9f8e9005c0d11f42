"""Words and letters that must or must not appear.

A keyword is a whole word in any case: `mom` is not in `moment`.
"""

from __future__ import annotations

from collections.abc import Callable

from verifiers.kinds.constraint_checks.instruction import (
    count,
    instruction,
    letter,
    phrase,
    phrases,
    position,
    relation,
)
from verifiers.kinds.constraint_checks.segments import (
    contains_all,
    count_word,
    edges_off,
    sentences,
    strip_marks,
    whole_word,
)

Relation = Callable[[int, int], bool]


@instruction("keywords:existence", keywords=phrases)
def has_keywords(text: str, keywords: tuple[str, ...]) -> bool:
    return contains_all(keywords, text)


@instruction("keywords:forbidden_words", forbidden_words=phrases)
def has_no_forbidden_word(text: str, forbidden_words: tuple[str, ...]) -> bool:
    return not any(whole_word(word).search(text) for word in forbidden_words)


@instruction("keywords:frequency", keyword=phrase, frequency=count, relation=relation)
def keyword_count(text: str, keyword: str, frequency: int, relation: Relation) -> bool:
    return relation(count_word(keyword, text), frequency)


@instruction("keywords:letter_frequency", letter=letter, let_frequency=count, let_relation=relation)
def letter_count(text: str, letter: str, let_frequency: int, let_relation: Relation) -> bool:
    return let_relation(text.lower().count(letter), let_frequency)


@instruction(
    "count:keywords_multiple",
    keyword1=phrase,
    keyword2=phrase,
    keyword3=phrase,
    keyword4=phrase,
    keyword5=phrase,
)
def keyword_counts(text: str, **keywords: str) -> bool:
    wanted = zip(("keyword1", "keyword2", "keyword3", "keyword4", "keyword5"), _TIMES, strict=True)
    return all(count_word(keywords[name], text) == times for name, times in wanted)


@instruction("sentence:keyword", word=phrase, N=position)
def keyword_in_sentence(text: str, word: str, N: int) -> bool:
    found = sentences(text)
    return len(found) >= N and whole_word(word).search(found[N - 1]) is not None


@instruction("words:keywords_specific_position", keyword=phrase, n=position, m=position)
def keyword_at_place(text: str, keyword: str, n: int, m: int) -> bool:
    found = sentences(text)
    if len(found) < n:
        return False
    return _word_at(found[n - 1].split(), m - 1) == keyword.lower()


@instruction("words:words_position", keyword=phrase)
def keyword_second_and_second_to_last(text: str, keyword: str) -> bool:
    found = text.split()
    return _word_at(found, 1) == _word_at(found, -2) == keyword.lower() and len(found) >= 3


def _word_at(found: list[str], index: int) -> str | None:
    """The word at an index, bare; tokens without a letter or digit are no words."""
    real = [word for word in found if strip_marks(word)]
    return edges_off(real[index]).lower() if -len(real) <= index < len(real) else None


_TIMES = (1, 2, 3, 5, 7)
