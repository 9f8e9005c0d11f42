"""`constraints`: the response keeps the verifiable instructions that were given.

Instruction ids and arguments are those of IFEval and IFBench; every checker is a small function in
`constraint_checks`. It proves the form that was asked for, never the content. Where a rule cannot
tell (whether a first word is a verb) it abstains.

Instructions that are asked for by name are decisive. Those found in a prompt are not: the prompt
may ask for more than was recognised, so they refute an answer and do not prove one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from verifiers.base import (
    Answer,
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
from verifiers.extract import after_thinking
from verifiers.kinds import constraint_checks
from verifiers.kinds.constraint_checks.instruction import (
    BadInstruction,
    Holds,
    Instruction,
    read_instruction,
)
from verifiers.kinds.constraint_checks.prompt import find_constraints
from verifiers.options import read_flag

__all__ = ["Constraints", "constraint_checks"]

MAX_INSTRUCTIONS = 50
MAX_CHARS = 200_000
"""A longer response is not checked: error, not fail."""


@dataclass(frozen=True, slots=True)
class Given:
    """One instruction of the option, ready to check."""

    instruction: Instruction
    arguments: Mapping[str, Any]

    def holds(self, text: str) -> Holds:
        return self.instruction.check(text, **self.arguments)


@register
class Constraints:
    name: ClassVar[str] = "constraints"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "instructions": "List of objects with `id` and its arguments, as in IFEval and IFBench.",
        "decisive": "Whether a pass is proof. Default true; false for those found in the prompt.",
    }

    def detect(self, check: Check) -> Mapping[str, Any] | None:
        if check.tools or check.response_format is not None or _OWN_FORM.search(check.system):
            return None
        found = find_constraints(check.prompt)
        return {"instructions": found, "decisive": False} if found else None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        decisive = read_flag(options, "decisive", default=True)
        listed = options.get("instructions")
        if not isinstance(listed, list | tuple) or not 0 < len(listed) <= MAX_INSTRUCTIONS:
            raise BadCheck(
                f"instructions must be a list of 1 to {MAX_INSTRUCTIONS}", param="instructions"
            )
        given = tuple(_read(item, f"instructions[{index}]") for index, item in enumerate(listed))
        return Prepared(payload=given, decisive=decisive)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """A text with nothing in it."""
        return (Candidate(text=""),)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        given: Sequence[Given] = prepared.payload
        if candidate.finish_reason in _CUT:
            return Finding(status=Status.FAIL, reason=_CUT[candidate.finish_reason])
        if len(candidate.text) > MAX_CHARS:
            return Finding(status=Status.ERROR, reason="too_long")
        text = after_thinking(candidate.text)
        if text is None:
            return Finding(status=Status.FAIL, reason="unfinished_thinking")
        if not text:
            return Finding(status=Status.FAIL, reason="empty")
        return _judge(given, [one.holds(text) for one in given])


def _judge(given: Sequence[Given], holds: Sequence[Holds]) -> Finding:
    """Fail when one certainly does not hold, pass when all do; the score is the share that do."""
    share = sum(1 for held in holds if held) / len(holds)
    evidence = {
        "kept": _ids(given, holds, True),
        "broken": _ids(given, holds, False),
        "undecided": _ids(given, holds, None),
    }
    if False in holds:
        return Finding(
            status=Status.FAIL, score=share, reason="constraint_broken", evidence=evidence
        )
    if None in holds:
        return Finding(status=Status.ABSTAIN, reason="undecided", evidence=evidence)
    return Finding(status=Status.PASS, reason="constraints_kept", evidence=evidence)


def _ids(given: Sequence[Given], holds: Sequence[Holds], wanted: Holds) -> list[str]:
    return [one.instruction.id for one, held in zip(given, holds, strict=True) if held is wanted]


def _read(item: object, param: str) -> Given:
    if not isinstance(item, Mapping):
        raise BadCheck("an instruction is an object with an id", param=param)
    try:
        found, arguments = read_instruction(item)
    except BadInstruction as unfit:
        raise BadCheck(str(unfit), param=f"{param}.{unfit.argument}") from None
    return Given(found, arguments)


_CUT = {"length": "truncated", "content_filter": "filtered"}
_OWN_FORM = re.compile(
    r"\b(?:words?|sentences?|paragraphs?|commas?|case|capital|caps|quot\w+|titles?|json|xml|html"
    r"|bullets?|markdown|formats?|language|ignore|never|always|instead|short|brief|concise)\b",
    re.IGNORECASE,
)
"""A system message that speaks of form may overrule the prompt."""
