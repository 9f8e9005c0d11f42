"""What kinds share whose answer is right exactly when its vote key is that of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from verifiers.base import Answer, AnswerContract, BadCheck, Finding, Prepared, Status

MAX_EVIDENCE_CHARS = 600


def prepare_text(
    options: Mapping[str, Any], contract: AnswerContract, key_of: Callable[[str], str]
) -> Prepared:
    """With a reference, which is a text, its key as the payload; without one nothing is proven."""
    reference = options.get("reference")
    if reference is None:
        return Prepared(payload=None, contract=contract)
    if not isinstance(reference, str):
        raise BadCheck("reference must be a text", param="reference")
    return Prepared(payload=key_of(reference), contract=contract, decisive=True)


def compare_key(wanted: str | None, answer: Answer) -> Finding:
    """Fail without an answer, abstain without a reference, else by equality."""
    if answer.key is None:
        return Finding(status=Status.FAIL, reason=answer.reason)
    if wanted is None:
        return Finding(status=Status.ABSTAIN, reason="no_reference")
    evidence = {"expected": wanted[:MAX_EVIDENCE_CHARS], "got": answer.key[:MAX_EVIDENCE_CHARS]}
    if answer.key == wanted:
        return Finding(status=Status.PASS, reason="equal", evidence=evidence)
    return Finding(status=Status.FAIL, reason="different", evidence=evidence)
