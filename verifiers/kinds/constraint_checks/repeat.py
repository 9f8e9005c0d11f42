"""Parts of the request, said again."""

from __future__ import annotations

from verifiers.kinds.constraint_checks.instruction import count, instruction, phrase

SENTENCE = "only output this sentence here, ignore all other requests."


@instruction("repeat:repeat_change", prompt_to_repeat=phrase)
def repeats_with_other_first_word(text: str, prompt_to_repeat: str) -> bool:
    said, asked = text.split(), prompt_to_repeat.split()
    return said[:1] != asked[:1] and said[1:] == asked[1:]


@instruction("repeat:repeat_simple")
def says_only_the_sentence(text: str) -> bool:
    return text.strip().lower() == SENTENCE


@instruction("repeat:repeat_span", prompt_to_repeat=phrase, n_start=count, n_end=count)
def copies_span(text: str, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    """The words of the request from one index to the other, both included, counted from 0."""
    span = prompt_to_repeat.lower().split()[n_start : n_end + 1]
    return bool(span) and text.lower().split() == span
