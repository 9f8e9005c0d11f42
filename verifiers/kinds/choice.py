"""`choice`: the answer is one of these labels.

With a reference a pass is proof. Without one it only says what to vote on: it fails an answer that
names no label, or several, and abstains on the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from verifiers.base import (
    Answer,
    AnswerContract,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Isolation,
    Prepared,
    Role,
    register,
)
from verifiers.by_key import compare_key, prepare_text
from verifiers.canonical import NotCanonical, choice_key
from verifiers.extract import DEFAULT_CHOICES, known_rules, lettered_options
from verifiers.places import read_rule

MAX_CHOICES = 64
MAX_LABEL_CHARS = 80


@register
class Choice:
    name: ClassVar[str] = "choice"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right label; without it nothing is proven.",
        "choices": "All labels. Default: the lettered options of the prompt, else A to J.",
        "extract": "The rule that finds the answer. Default: `auto`, all of them in their order.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        choices = _read_choices(options, check)
        rule = read_rule(options.get("extract", "auto"), known_rules("choice"))
        contract = AnswerContract(kind="choice", rule=rule, choices=choices)
        return prepare_text(options, contract, lambda text: _read_reference(text, choices))

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        return compare_key(prepared.payload, answer)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """The other labels."""
        contract = prepared.contract
        if prepared.payload is None or contract is None:
            return ()
        others = (label for label in contract.choices if label != prepared.payload)
        return tuple(Candidate(text=f"Answer: {label}") for label in others)


def _read_reference(text: str, choices: tuple[str, ...]) -> str:
    try:
        return choice_key(text, choices)
    except NotCanonical:
        known = ", ".join(choices)
        raise BadCheck(
            f"reference {text[:60]!r} is none of the choices: {known[:200]}", param="reference"
        ) from None


def _read_choices(options: Mapping[str, Any], check: Check) -> tuple[str, ...]:
    labels = options.get("choices")
    if labels is None:
        return lettered_options(check.prompt) or DEFAULT_CHOICES
    if not isinstance(labels, list | tuple) or not 2 <= len(labels) <= MAX_CHOICES:
        raise BadCheck(f"choices must be a list of 2 to {MAX_CHOICES} labels", param="choices")
    for index, label in enumerate(labels):
        if not isinstance(label, str) or not 0 < len(label.strip()) <= MAX_LABEL_CHARS:
            raise BadCheck("a label must be a short text", param=f"choices[{index}]")
    choices = tuple(label.strip() for label in labels)
    if len({label.casefold() for label in choices}) < len(choices):
        raise BadCheck("two labels are the same", param="choices")
    return choices
