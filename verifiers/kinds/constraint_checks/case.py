"""Capital and small letters.

Where English is asked for too, only a text that is certainly another language fails for it.
"""

from __future__ import annotations

from collections.abc import Callable

from verifiers.kinds.constraint_checks.instruction import count, instruction, relation
from verifiers.kinds.constraint_checks.language import is_in_language
from verifiers.kinds.constraint_checks.segments import edges_off, tokens

Relation = Callable[[int, int], bool]


@instruction("change_case:english_capital")
def all_capital(text: str) -> bool:
    return text.isupper() and is_in_language(text, "en") is not False


@instruction("change_case:english_lowercase")
def all_lowercase(text: str) -> bool:
    return text.islower() and is_in_language(text, "en") is not False


@instruction(
    "change_case:capital_word_frequency", capital_frequency=count, capital_relation=relation
)
def capital_words(text: str, capital_frequency: int, capital_relation: Relation) -> bool:
    """Words all in capitals; a word with a hyphen is one, `I` and `A` count."""
    found = sum(1 for word in text.split() if edges_off(word).isupper())
    return capital_relation(found, capital_frequency)


@instruction("format:title_case")
def title_case(text: str) -> bool:
    """No word of small letters except short joining words inside a line."""
    found = [token for token in tokens(text) if token[0].isalpha()]
    return bool(found) and not any(token.islower() for token in found)
