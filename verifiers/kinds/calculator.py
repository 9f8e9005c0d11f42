"""`calculator`: the answer is the value of the arithmetic expression that the prompt asks for.

Attached by itself when all of a prompt is one arithmetic question (verifiers/arithmetic.py). The
value is recomputed exactly, so a pass is proof. It does not read word problems, and it accepts no
rounding: a question whose value has many decimals is not taken up at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from verifiers.arithmetic import NotArithmetic, evaluate, find_question
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
from verifiers.canonical import number_key

MAX_EXPRESSION_CHARS = 400

# A system message that speaks of numbers may change what the signs or the digits mean.
_REDEFINED = re.compile(
    r"\b(?:binary|hex|hexadecimal|octal|base|modulo|mod|roman|numerals?|words?|wrong|incorrect"
    r"|opposite|reverse|round|json|xml|operators?|arithmetic|math|calculat\w*|numbers?|digits?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    value: Fraction
    echoes: frozenset[str]
    """The question in its own words, which is no answer even if it ends in the right number."""


@register
class Calculator:
    name: ClassVar[str] = "calculator"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"
    options: ClassVar[Mapping[str, str]] = {
        "expression": "What to calculate, e.g. `12*(3+4)`. Default: the question of the prompt.",
    }

    def detect(self, check: Check) -> Mapping[str, Any] | None:
        if check.tools or check.response_format not in (None, {"type": "text"}):
            return None
        if _REDEFINED.search(check.system):
            return None
        expression = find_question(check.prompt)
        return None if expression is None else {"expression": expression}

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        expression = options.get("expression")
        if expression is None:
            expression = find_question(check.prompt)
            if expression is None:
                raise BadCheck(
                    "the prompt is not one arithmetic question; name it here", param="expression"
                )
        if not isinstance(expression, str) or len(expression) > MAX_EXPRESSION_CHARS:
            raise BadCheck(
                f"expression must be a text of at most {MAX_EXPRESSION_CHARS} characters",
                param="expression",
            )
        try:
            value = evaluate(expression)
        except NotArithmetic as refused:
            raise BadCheck(f"expression: {refused}", param="expression") from None
        wanted = Wanted(value, frozenset({_squeeze(expression), _squeeze(check.prompt)}))
        return Prepared(payload=wanted, contract=AnswerContract(kind="number"), decisive=True)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        wanted: Wanted = prepared.payload
        if answer.key is None:
            return Finding(status=Status.FAIL, reason=answer.reason)
        if _squeeze(answer.text) in wanted.echoes or _squeeze(candidate.text) in wanted.echoes:
            return Finding(status=Status.FAIL, reason="echo")
        evidence = {"expected": number_key(wanted.value), "got": answer.key}
        if Fraction(answer.key) == wanted.value:
            return Finding(status=Status.PASS, reason="equal", evidence=evidence)
        return Finding(status=Status.FAIL, reason="different", evidence=evidence)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """A number beside the right one."""
        wanted: Wanted = prepared.payload
        return (Candidate(text=f"Answer: {number_key(wanted.value + 1)}"),)


def _squeeze(text: str) -> str:
    """The text without spaces and end marks; long texts are no echo of a short question."""
    return "".join(text[: 3 * MAX_EXPRESSION_CHARS].split()).casefold().strip("?=.:")
