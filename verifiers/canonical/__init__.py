"""Canonical answers: what a model wrote → the vote key.

Two answers are one vote exactly when their keys are equal, so every key is exact: numbers are
fractions of written digits, JSON never passes through a double. House rules, stated because
public graders contradict each other:

- `1,234` = `1234` = `1234.0` = `1.234e3`; a comma is never a decimal mark (`1,5` is no number).
- A percent sign, a currency and a trailing unit are dropped: `15%` = `15`, `$18` = `18 dollars`,
  unless a task's policy keeps them or reads `15%` as 0.15.
- `3/4` = `0.75`, `1 3/4` = `1.75`; a division that comes out even (`10/5`) is work left undone.
- `thousand`, `million`, `billion`, `trillion`, `dozen` multiply; other number words are not read.
- Short text: NFKC, case folded, outer punctuation, quotes and leading articles dropped.

Hidden characters and words of mixed scripts are refused, not repaired.
"""

from verifiers.canonical.cleaning import (
    MAX_KEY_CHARS,
    MAX_PHRASE_CHARS,
    NotCanonical,
    clean,
    shorten_key,
)
from verifiers.canonical.dates import date_key
from verifiers.canonical.numbers import (
    MAX_DIGITS,
    number_key,
    quantity_key,
    read_last_quantity,
    read_number,
    read_quantity,
)
from verifiers.canonical.structured import MAX_ARGUMENT_CHARS, calls_key, json_key
from verifiers.canonical.texts import choice_key, text_key

__all__ = [
    "MAX_ARGUMENT_CHARS",
    "MAX_DIGITS",
    "MAX_KEY_CHARS",
    "MAX_PHRASE_CHARS",
    "NotCanonical",
    "calls_key",
    "choice_key",
    "clean",
    "date_key",
    "json_key",
    "number_key",
    "quantity_key",
    "read_last_quantity",
    "read_number",
    "read_quantity",
    "shorten_key",
    "text_key",
]
