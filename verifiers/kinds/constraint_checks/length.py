"""How many words, sentences and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Callable

from verifiers.kinds.constraint_checks.instruction import (
    count,
    instruction,
    phrase,
    position,
    relation,
)
from verifiers.kinds.constraint_checks.segments import edges_off, paragraphs, sentences, words

Relation = Callable[[int, int], bool]


@instruction("length_constraints:number_words", num_words=count, relation=relation)
def number_of_words(text: str, num_words: int, relation: Relation) -> bool:
    return relation(len(words(text)), num_words)


@instruction("count:word_count_range", min_words=count, max_words=count)
def number_of_words_in_range(text: str, min_words: int, max_words: int) -> bool:
    return min_words <= len(words(text)) <= max_words


@instruction("length_constraints:number_sentences", num_sentences=count, relation=relation)
def number_of_sentences(text: str, num_sentences: int, relation: Relation) -> bool:
    return relation(len(sentences(text)), num_sentences)


@instruction("length_constraints:number_paragraphs", num_paragraphs=count)
def number_of_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Paragraphs between dividers of three asterisks; only the outermost may be empty."""
    parts = [part.strip() for part in _DIVIDER.split(text)]
    return all(parts[1:-1]) and sum(1 for part in parts if part) == num_paragraphs


@instruction(
    "length_constraints:nth_paragraph_first_word",
    num_paragraphs=position,
    nth_paragraph=position,
    first_word=phrase,
)
def paragraph_starts_with(
    text: str, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    parts = paragraphs(text)
    if len(parts) != num_paragraphs or nth_paragraph > num_paragraphs:
        return False
    return edges_off(parts[nth_paragraph - 1].split()[0]).lower() == edges_off(first_word).lower()


_DIVIDER = re.compile(r"(?<!\*)\*\*\*(?!\*)")
