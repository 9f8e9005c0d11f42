"""How a response begins and ends."""

from __future__ import annotations

import re

from verifiers.kinds.constraint_checks.instruction import Holds, instruction, phrase
from verifiers.kinds.constraint_checks.lists import NOT_VERBS, VERBS
from verifiers.kinds.constraint_checks.segments import words


@instruction("startend:end_checker", end_phrase=phrase)
def ends_with(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').rstrip().lower().endswith(end_phrase.lower())


@instruction("startend:quotation")
def is_quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 2 and text[0] + text[-1] in ('""', "“”")


@instruction("combination:repeat_prompt", prompt_to_repeat=phrase)
def repeats_then_answers(text: str, prompt_to_repeat: str) -> bool:
    """Begins with the request, word for word, and goes on after it."""
    text, request = text.strip().lower(), prompt_to_repeat.lower()
    return text.startswith(request) and bool(words(text[len(request) :]))


@instruction("combination:two_responses")
def two_responses(text: str) -> bool:
    """Two different parts with six asterisks between them; only the outermost may be empty."""
    parts = [part.strip() for part in _SIX.split(text)]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


@instruction("words:start_verb")
def starts_with_verb(text: str) -> Holds:
    """Known from lists; None for a first word that may be a verb or not."""
    found = words(text)
    first = found[0].lower() if found else ""
    if first in VERBS:
        return True
    return False if first in NOT_VERBS or not first.isalpha() else None


_SIX = re.compile(r"\*{6}")
