"""`number`: the answer is this number.

With a reference a pass is proof: written digits are compared exactly, as fractions. Without one it
only says what to vote on: it fails an answer that is no number and abstains on the rest.
It compares values, not units or currencies (verifiers/canonical.py says which are dropped).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
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
from verifiers.canonical import NotCanonical, number_key, read_number


@dataclass(frozen=True, slots=True)
class Wanted:
    reference: Fraction
    tolerance: Fraction


@register
class Number:
    name: ClassVar[str] = "number"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right number, as text or number; without it nothing is proven.",
        "tolerance": "Largest allowed difference, in the unit of the answer. Default 0: exact.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        contract = AnswerContract(kind="number")
        if options.get("reference") is None:
            if "tolerance" in options:
                raise BadCheck("a tolerance needs a reference", param="tolerance")
            return Prepared(payload=None, contract=contract)
        wanted = Wanted(
            reference=_read_option(options, "reference"),
            tolerance=_read_option(options, "tolerance") if "tolerance" in options else Fraction(0),
        )
        if wanted.tolerance < 0:
            raise BadCheck("a tolerance is not negative", param="tolerance")
        return Prepared(payload=wanted, contract=contract, decisive=True)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        if answer.key is None:
            return Finding(status=Status.FAIL, reason=answer.reason)
        wanted: Wanted | None = prepared.payload
        if wanted is None:
            return Finding(status=Status.ABSTAIN, reason="no_reference")
        evidence = {"expected": number_key(wanted.reference), "got": answer.key}
        if abs(Fraction(answer.key) - wanted.reference) <= wanted.tolerance:
            return Finding(status=Status.PASS, reason="equal", evidence=evidence)
        return Finding(status=Status.FAIL, reason="different", evidence=evidence)


def _read_option(options: Mapping[str, Any], name: str) -> Fraction:
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadCheck(f"{name} must be a number or its text", param=name)
    try:
        return read_number(str(value))
    except NotCanonical:
        raise BadCheck(f"{name} is not one number: {value!r:.60}", param=name) from None
