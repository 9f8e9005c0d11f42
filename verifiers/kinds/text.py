"""`text`: the answer is this short text.

With a reference a pass is proof: the whole canonical answer equals the reference or one of several
accepted spellings. Without one it only says what to vote on: it fails when there is no short
answer and abstains on the rest. It knows no synonyms and never looks for a part of the answer.
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
    Status,
    register,
)
from verifiers.canonical import NotCanonical, text_key
from verifiers.extract import known_rules
from verifiers.places import read_rule

MAX_REFERENCES = 100


@register
class Text:
    name: ClassVar[str] = "text"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right text, or a list of accepted ones; without it nothing is proven.",
        "extract": "The rule that finds the answer. Default: `auto`, all of them in their order.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        rule = read_rule(options.get("extract", "auto"), known_rules("text"))
        contract = AnswerContract(kind="text", rule=rule)
        reference = options.get("reference")
        if reference is None:
            return Prepared(payload=None, contract=contract)
        accepted = reference if isinstance(reference, list | tuple) else [reference]
        if not 0 < len(accepted) <= MAX_REFERENCES:
            raise BadCheck(f"reference must hold 1 to {MAX_REFERENCES} texts", param="reference")
        keys = frozenset(map(_read_reference, accepted))
        return Prepared(payload=keys, contract=contract, decisive=True)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        if answer.key is None:
            return Finding(status=Status.FAIL, reason=answer.reason)
        if prepared.payload is None:
            return Finding(status=Status.ABSTAIN, reason="no_reference")
        evidence = {"expected": sorted(prepared.payload)[:5], "got": answer.key}
        if answer.key in prepared.payload:
            return Finding(status=Status.PASS, reason="equal", evidence=evidence)
        return Finding(status=Status.FAIL, reason="different", evidence=evidence)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """A text that is none of the accepted ones."""
        if prepared.payload is None:
            return ()
        wrong = "unknown"
        while wrong in prepared.payload:
            wrong += "er"
        return (Candidate(text=f"Answer: {wrong}"), Candidate(text=wrong))


def _read_reference(text: object) -> str:
    if not isinstance(text, str):
        raise BadCheck("reference must be a text or a list of texts", param="reference")
    try:
        return text_key(text)
    except NotCanonical as refused:
        raise BadCheck(
            f"reference {text[:60]!r} cannot be compared: {refused.reason}", param="reference"
        ) from None
