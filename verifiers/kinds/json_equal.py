"""`json_equal`: the answer is this JSON value.

With a reference a pass is proof: every value is compared exactly, numbers by the digits that were
written. Without one it only says what to vote on. The answer is the whole text after the thinking
part, or a lone code fence around it (rule `lone_fence`). It knows no synonyms, and text inside
strings is compared character by character.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
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
from verifiers.documents import read_document
from verifiers.json_pointer import Pointer, covers, read_pointer, write_pointer
from verifiers.options import read_tolerance
from verifiers.strict_json import NotStrictJson, dump_canonical, parse_json

MAX_POINTERS = 64
MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    value: Any
    by_kind: bool
    """True when `1` and `1.0` are different."""
    tolerance: Fraction
    all_unordered: bool
    unordered: tuple[Pointer, ...]
    ignored: tuple[Pointer, ...]


@register
class JsonEqual:
    name: ClassVar[str] = "json_equal"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right JSON: a value, or its text; without it nothing is proven.",
        "numbers": "`value` (default): `1` = `1.0`. `kind`: an integer is not a decimal.",
        "tolerance": "Largest allowed difference of any number. Default 0: exact.",
        "unordered": "Arrays whose order is free: `true` for all, or a list of JSON pointers.",
        "ignore": "List of JSON pointers, `*` for every element, that are not compared.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        contract = AnswerContract(kind="json", rule="lone_fence")
        if "reference" not in options:
            for option in options:
                raise BadCheck(f"'{option}' needs a reference", param=option)
            return Prepared(payload=None, contract=contract)
        numbers = options.get("numbers", "value")
        if numbers not in ("value", "kind"):
            raise BadCheck("numbers is `value` or `kind`", param="numbers")
        unordered = options.get("unordered", False)
        ignored = _pointers(options.get("ignore", ()), "ignore")
        if () in ignored:
            raise BadCheck("the whole value cannot be ignored", param="ignore")
        wanted = Wanted(
            value=_read_reference(options["reference"]),
            by_kind=numbers == "kind",
            tolerance=read_tolerance(options),
            all_unordered=unordered is True,
            unordered=() if isinstance(unordered, bool) else _pointers(unordered, "unordered"),
            ignored=ignored,
        )
        return Prepared(payload=wanted, contract=contract, decisive=True)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        document = read_document(candidate, answer)
        if isinstance(document, Finding):
            return document
        evidence = {"rule": document.rule}
        wanted: Wanted | None = prepared.payload
        if wanted is None:
            return Finding(status=Status.ABSTAIN, reason="no_reference", evidence=evidence)
        fault = _difference(wanted, wanted.value, document.value, ())
        if fault is None:
            return Finding(status=Status.PASS, reason="equal", evidence=evidence)
        return Finding(status=Status.FAIL, reason="different", evidence={**evidence, **fault})

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Broken JSON, and a value of another type than the reference."""
        wanted: Wanted | None = prepared.payload
        other = "0" if wanted is not None and wanted.value is None else "null"
        texts = ("{", other) if wanted is not None else ("{",)
        return [Candidate(text=text) for text in texts]


def _read_reference(given: Any) -> Any:
    try:
        return parse_json(given if isinstance(given, str) else json.dumps(given))
    except (NotStrictJson, ValueError, TypeError, RecursionError) as unfit:
        raise BadCheck(
            f"reference is not strict JSON (a string is read as JSON text): {str(unfit)[:120]}",
            param="reference",
        ) from None


def _pointers(given: Any, param: str) -> tuple[Pointer, ...]:
    if not isinstance(given, list | tuple) or len(given) > MAX_POINTERS:
        raise BadCheck(f"{param} must be a list of at most {MAX_POINTERS} pointers", param=param)
    return tuple(read_pointer(text, f"{param}[{index}]") for index, text in enumerate(given))


def _difference(wanted: Wanted, left: Any, right: Any, path: Pointer) -> dict[str, str] | None:
    """The first place where two values differ, or None. `path` is that of the reference."""
    if any(covers(pointer, path) for pointer in wanted.ignored):
        return None
    if isinstance(left, dict) and isinstance(right, dict):
        return _object_difference(wanted, left, right, path)
    if isinstance(left, list) and isinstance(right, list):
        free = wanted.all_unordered or any(covers(pointer, path) for pointer in wanted.unordered)
        return (_unordered_difference if free else _list_difference)(wanted, left, right, path)
    if _is_number(left) and _is_number(right):
        same_kind = not wanted.by_kind or type(left) is type(right)
        if same_kind and abs(Fraction(left) - Fraction(right)) <= wanted.tolerance:
            return None
    elif type(left) is type(right) and left == right:
        return None
    return _fault(path, left, right)


def _object_difference(
    wanted: Wanted, left: dict[str, Any], right: dict[str, Any], path: Pointer
) -> dict[str, str] | None:
    for key in sorted(left.keys() | right.keys()):
        below = (*path, key)
        if any(covers(pointer, below) for pointer in wanted.ignored):
            continue
        if key not in right:
            return {**_fault(below, left[key], None), "got": "(missing)"}
        if key not in left:
            return {**_fault(below, None, right[key]), "expected": "(nothing)"}
        fault = _difference(wanted, left[key], right[key], below)
        if fault is not None:
            return fault
    return None


def _list_difference(
    wanted: Wanted, left: list[Any], right: list[Any], path: Pointer
) -> dict[str, str] | None:
    if len(left) != len(right):
        return _length_fault(path, left, right)
    for index, (one, other) in enumerate(zip(left, right, strict=True)):
        fault = _difference(wanted, one, other, (*path, str(index)))
        if fault is not None:
            return fault
    return None


def _unordered_difference(
    wanted: Wanted, left: list[Any], right: list[Any], path: Pointer
) -> dict[str, str] | None:
    """Pair every element of one side with an equal one of the other (augmenting paths)."""
    if len(left) != len(right):
        return _length_fault(path, left, right)
    fits = [
        [
            at
            for at, other in enumerate(right)
            if _difference(wanted, one, other, (*path, str(index))) is None
        ]
        for index, one in enumerate(left)
    ]
    taken: dict[int, int] = {}
    for index, one in enumerate(left):
        if not _place(index, fits, taken):
            return {**_fault((*path, str(index)), one, None), "got": "(no equal element)"}
    return None


def _place(index: int, fits: Sequence[Sequence[int]], taken: dict[int, int]) -> bool:
    """Find a partner for one element, moving others where that helps. Breadth first, no recursion.

    Each reached partner remembers from which element it was reached.
    """
    reached: dict[int, int] = {}
    queue = [index]
    for element in queue:
        for at in fits[element]:
            if at in reached:
                continue
            reached[at] = element
            if at in taken:
                queue.append(taken[at])
                continue
            while True:
                owner = reached[at]
                before = next((spot for spot, held in taken.items() if held == owner), None)
                taken[at] = owner
                if before is None or owner == index:
                    return True
                at = before
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _length_fault(path: Pointer, left: list[Any], right: list[Any]) -> dict[str, str]:
    told = {"path": write_pointer(path)[:MAX_SHOWN]}
    return {**told, "expected": f"{len(left)} elements", "got": f"{len(right)} elements"}


def _fault(path: Pointer, left: Any, right: Any) -> dict[str, str]:
    return {
        "path": write_pointer(path)[:MAX_SHOWN],
        "expected": dump_canonical(left)[:MAX_SHOWN],
        "got": dump_canonical(right)[:MAX_SHOWN],
    }
