"""The JSON document of an answer, for the kinds that look into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from verifiers.base import Answer, Candidate, Finding, Status
from verifiers.strict_json import NotStrictJson, parse_json
from verifiers.trimming import after_thinking, unfence_json

MAX_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class Document:
    value: Any
    rule: str
    """Where it stood: `whole`, or `lone_fence` around all of it."""


def read_document(candidate: Candidate, answer: Answer) -> Document | Finding:
    """The document, or the failure of an answer that was cut or is no strict JSON.

    What stands before the end of the thinking part is cut off.
    """
    if candidate.finish_reason in ("length", "content_filter"):
        return Finding(status=Status.FAIL, reason=answer.reason)
    said = after_thinking(candidate.text) or ""
    inside = unfence_json(said)
    rule, text = ("whole", said) if inside is None else ("lone_fence", inside)
    try:
        return Document(parse_json(text, max_chars=MAX_CHARS), rule)
    except NotStrictJson as refused:
        evidence = {"message": str(refused)}
        return Finding(status=Status.FAIL, reason=refused.reason, evidence=evidence)
