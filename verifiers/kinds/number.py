"""`number`: the answer is this number.

With a reference a pass is proof: written digits are compared exactly, as fractions. Without one it
only says what to vote on: it fails an answer that is no number and abstains on the rest.
It compares values; units and currencies only where `units` says so (verifiers/canonical).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from verifiers.canonical import number_key, quantity_key
from verifiers.canonical.conversion import difference_to_base
from verifiers.extract import known_rules
from verifiers.options import choose, not_negative, read_measure
from verifiers.places import read_rule


@dataclass(frozen=True, slots=True)
class Wanted:
    reference: Fraction
    unit: str
    """Empty where the policy drops units."""
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
        "percent": "What `15%` is: `drop` (default): 15. `ratio`: 0.15. `keep`: only `15%`.",
        "units": "`drop` (default): `18 cm` is 18. `keep`: the unit must be the same. "
        "`convert`: `0.18 m` is the same.",
        "extract": "The rule that finds the answer. Default: `auto`, all of them in their order.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        contract = AnswerContract(
            kind="number",
            rule=read_rule(options.get("extract", "auto"), known_rules("number")),
            percent=choose(options, "percent", ("drop", "ratio", "keep")),
            units=choose(options, "units", ("drop", "keep", "convert")),
        )
        if options.get("reference") is None:
            if "tolerance" in options:
                raise BadCheck("a tolerance needs a reference", param="tolerance")
            return Prepared(payload=None, contract=contract)
        rules = (contract.percent, contract.units)
        reference, unit = read_measure(options["reference"], "reference", *rules)
        if contract.units == "convert" and not unit:
            raise BadCheck("a reference to convert has a unit, e.g. `18 cm`", param="reference")
        tolerance = _read_tolerance(options, contract, unit)
        wanted = Wanted(reference, unit, tolerance)
        return Prepared(payload=wanted, contract=contract, decisive=True)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        if answer.key is None:
            return Finding(status=Status.FAIL, reason=answer.reason)
        wanted: Wanted | None = prepared.payload
        if wanted is None:
            return Finding(status=Status.ABSTAIN, reason="no_reference")
        value, _, unit = answer.key.partition(" ")
        evidence = {"expected": quantity_key(wanted.reference, wanted.unit), "got": answer.key}
        if unit != wanted.unit:
            return Finding(status=Status.FAIL, reason="other_unit", evidence=evidence)
        if abs(Fraction(value) - wanted.reference) <= wanted.tolerance:
            return Finding(status=Status.PASS, reason="equal", evidence=evidence)
        return Finding(status=Status.FAIL, reason="different", evidence=evidence)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """A number just out of reach of the reference."""
        wanted: Wanted | None = prepared.payload
        if wanted is None:
            return ()
        wrong = number_key(wanted.reference + wanted.tolerance + 1)
        return (Candidate(text=f"Answer: {wrong}"), Candidate(text=f"\\boxed{{{wrong}}}"))


def _read_tolerance(options: Mapping[str, Any], contract: AnswerContract, unit: str) -> Fraction:
    """In the unit of the answer; one that is converted has a unit of its own."""
    given = options.get("tolerance", 0)
    if contract.units != "convert":
        tolerance, _ = read_measure(given, "tolerance", contract.percent, contract.units)
        return not_negative(tolerance)
    tolerance, own = read_measure(given, "tolerance", units="convert", convert=difference_to_base)
    if tolerance and own != unit:
        raise BadCheck(
            f"a tolerance has a unit like that of the reference, here one of {unit}",
            param="tolerance",
        )
    return not_negative(tolerance)
