"""The instructions that `constraints` knows, one small function each, by family."""

from verifiers.kinds.constraint_checks import (
    case,
    counts,
    custom,
    form,
    keywords,
    language,
    length,
    punctuation,
    repeat,
    sentence,
    startend,
    words,
)

__all__ = [
    "case",
    "counts",
    "custom",
    "form",
    "keywords",
    "language",
    "length",
    "punctuation",
    "repeat",
    "sentence",
    "startend",
    "words",
]
