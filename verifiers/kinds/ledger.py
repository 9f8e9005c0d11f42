"""`ledger`: the amounts of a JSON document add up, exactly.

Sums are taken over the digits that were written, so one cent off is a fail and a rounding
difference is forgiven only by a stated tolerance. Checked, as far as named: items against a total,
rows and columns of a table against their totals (both ways), debits against credits, signs and
counts. A document can add up and still be made up: a pass is proof only with `expected_items` or
`expected_total`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
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
from verifiers.canonical import NotCanonical, number_key, read_number
from verifiers.documents import read_document
from verifiers.json_pointer import Pointer, find, read_pointer, write_pointer
from verifiers.options import read_amount, read_flag, read_tolerance

MAX_EXPECTED = 10_000
MAX_POINTERS = 32
POINTERS = ("total", "row_totals", "column_totals", "cells", "debits", "credits")

SIGNS: Mapping[str, Callable[[Fraction], bool]] = {
    "any": lambda amount: True,
    "positive": lambda amount: amount > 0,
    "non_negative": lambda amount: amount >= 0,
    "negative": lambda amount: amount < 0,
    "non_positive": lambda amount: amount <= 0,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    places: Mapping[str, Pointer]
    items: tuple[Pointer, ...]
    sign: str
    least: int
    most: int | None
    text_amounts: bool
    tolerance: Fraction
    expected_items: tuple[Fraction, ...] | None
    expected_total: Fraction | None


class _Fault(Exception):
    """The document breaks a rule."""

    def __init__(self, reason: str, **evidence: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence


@register
class Ledger:
    name: ClassVar[str] = "ledger"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "total": "JSON pointer of the total, e.g. `/total`.",
        "items": "Pointer of the amounts, e.g. `/items/*/amount`, or a list of them.",
        "expected_items": "The amounts that must be there, no more and no fewer, in any order.",
        "expected_total": "The total that must be there.",
        "sign": "What every item is: `any` (default), `positive`, `non_negative`, `negative`, "
        "`non_positive`.",
        "count": "How many items: a number, or `[least, most]`. Default: at least one.",
        "cells": "Pointer of a table's amounts, with two `*`: row, then column.",
        "row_totals": "Pointer of the rows' totals, with one `*`, in the order of the rows.",
        "column_totals": "Pointer of the columns' totals, with one `*`.",
        "debits": "Pointer of the debits; entries without one are passed over.",
        "credits": "Pointer of the credits; their sum is that of the debits.",
        "tolerance": "Largest allowed difference of any sum. Default 0: exact.",
        "text_amounts": '`true` reads texts like `"1,234.50"` as amounts. Default: numbers only.',
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        wanted = Wanted(
            places={
                name: read_pointer(options[name], name) for name in POINTERS if name in options
            },
            items=_read_items(options.get("items")),
            sign=options.get("sign", "any"),
            **_read_count(options.get("count")),
            text_amounts=read_flag(options, "text_amounts"),
            tolerance=read_tolerance(options),
            expected_items=_read_expected(options),
            expected_total=read_amount(options["expected_total"], "expected_total")
            if "expected_total" in options
            else None,
        )
        _refuse_unfit(wanted)
        proof = wanted.expected_items is not None or wanted.expected_total is not None
        contract = AnswerContract(kind="json", rule="lone_fence")
        return Prepared(payload=wanted, contract=contract, decisive=proof)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        wanted: Wanted = prepared.payload
        document = read_document(candidate, answer)
        if isinstance(document, Finding):
            return document
        rule = {"rule": document.rule}
        try:
            evidence = _check(wanted, document.value)
        except _Fault as fault:
            evidence = {**rule, **fault.evidence}
            return Finding(status=Status.FAIL, reason=fault.reason, evidence=evidence)
        return Finding(status=Status.PASS, reason="adds_up", evidence={**rule, **evidence})

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """No document, and one in which nothing that was named is there."""
        return [Candidate(text="{"), Candidate(text="null")]


def _check(wanted: Wanted, document: Any) -> dict[str, Any]:
    """The sums that were found. Raises `_Fault` for the first rule that is broken."""
    told: dict[str, Any] = {}
    total = None
    if "total" in wanted.places:
        (total,) = _read_all(wanted, document, "total", exactly=1).values()
        told["total"] = number_key(total)
        if wanted.expected_total is not None:
            _compare(wanted, "wrong_total", wanted.expected_total, total)
    if wanted.items:
        amounts = _read_amounts(wanted, document)
        _check_items(wanted, amounts)
        told |= {"items": len(amounts), "sum": number_key(sum(amounts.values(), Fraction(0)))}
        if total is not None:
            _compare(wanted, "total_differs", sum(amounts.values(), Fraction(0)), total)
    if "cells" in wanted.places:
        told["table"] = _check_table(wanted, document, total)
    if "debits" in wanted.places:
        debits = _read_all(wanted, document, "debits", optional=True)
        credits = _read_all(wanted, document, "credits", optional=True)
        if not debits and not credits:
            raise _Fault("no_entries")
        both = [sum(side.values(), Fraction(0)) for side in (debits, credits)]
        _compare(wanted, "unbalanced", *both)
        told["balance"] = number_key(both[0])
    return told


def _check_items(wanted: Wanted, amounts: Mapping[Pointer, Fraction]) -> None:
    most = len(amounts) if wanted.most is None else wanted.most
    if not wanted.least <= len(amounts) <= most:
        raise _Fault("item_count", items=len(amounts), least=wanted.least, most=wanted.most)
    for path, amount in amounts.items():
        if not SIGNS[wanted.sign](amount):
            raise _Fault("wrong_sign", path=_shown(path), amount=number_key(amount))
    if wanted.expected_items is not None:
        said, due = Counter(amounts.values()), Counter(wanted.expected_items)
        if said != due:
            missing, extra = sorted((due - said).elements()), sorted((said - due).elements())
            raise _Fault(
                "items_differ",
                missing=[number_key(amount) for amount in missing[:10]],
                extra=[number_key(amount) for amount in extra[:10]],
            )


def _check_table(wanted: Wanted, document: Any, total: Fraction | None) -> dict[str, Any]:
    """Cross-foot: every row and every column adds up, and both ways come to the same."""
    stars = [at for at, step in enumerate(wanted.places["cells"]) if step == "*"]
    cells = _read_all(wanted, document, "cells")
    if not cells:
        raise _Fault("no_cells")
    told: dict[str, Any] = {"cells": len(cells)}
    for name, star in (("row_totals", stars[0]), ("column_totals", stars[1])):
        if name not in wanted.places:
            continue
        sums: dict[str, Fraction] = defaultdict(Fraction)
        for path, amount in cells.items():
            sums[path[star]] += amount
        place = wanted.places[name].index("*")
        totals = {path[place]: amount for path, amount in _read_all(wanted, document, name).items()}
        if totals.keys() != sums.keys():
            odd = sorted(totals.keys() ^ sums.keys())
            raise _Fault(f"{name}_do_not_match", without_partner=odd[:10])
        for key, amount in sums.items():
            _compare(wanted, f"{name}_differ", amount, totals[key], key=key)
        told[name] = len(totals)
    if total is not None:
        _compare(wanted, "table_total_differs", sum(cells.values(), Fraction(0)), total)
    return told


def _read_amounts(wanted: Wanted, document: Any) -> dict[Pointer, Fraction]:
    """The items of all pointers. An element that lacks its amount is a fault."""
    amounts: dict[Pointer, Fraction] = {}
    for pointer in wanted.items:
        if "*" not in pointer:
            found = _read_at(wanted, document, pointer)
            if not found:
                raise _Fault("missing", path=_shown(pointer))
            amounts |= found
            continue
        last = len(pointer) - pointer[::-1].index("*")
        elements = [path for path, _ in find(document, pointer[:last])]
        found = _read_at(wanted, document, pointer)
        have = {path[:last] for path in found}
        for path in elements:
            if path not in have:
                raise _Fault("missing", path=_shown((*path, *pointer[last:])))
        if not set(found).isdisjoint(amounts):
            raise _Fault("counted_twice", path=_shown(pointer))
        amounts |= found
    return amounts


def _read_all(
    wanted: Wanted, document: Any, name: str, *, exactly: int | None = None, optional: bool = False
) -> dict[Pointer, Fraction]:
    pointer = wanted.places[name]
    found = _read_at(wanted, document, pointer, optional=optional)
    if exactly is not None and len(found) != exactly:
        raise _Fault(f"{name}_missing", path=_shown(pointer))
    return found


def _read_at(
    wanted: Wanted, document: Any, pointer: Pointer, *, optional: bool = False
) -> dict[Pointer, Fraction]:
    found: dict[Pointer, Fraction] = {}
    for path, value in find(document, pointer):
        if optional and value is None:
            continue
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            found[path] = Fraction(value)
        elif wanted.text_amounts and isinstance(value, str):
            try:
                found[path] = _read_text(value)
            except NotCanonical as refused:
                raise _Fault(
                    "not_an_amount", path=_shown(path), got=value[:80], why=refused.reason
                ) from None
        else:
            raise _Fault("not_an_amount", path=_shown(path), got=type(value).__name__)
    return found


def _read_text(text: str) -> Fraction:
    """An amount in words; in books, parentheses are a minus."""
    bare = text.strip()
    if bare.startswith("(") and bare.endswith(")"):
        return -abs(read_number(bare[1:-1]))
    return read_number(bare)


def _compare(wanted: Wanted, reason: str, sum_: Fraction, said: Fraction, **more: Any) -> None:
    if abs(sum_ - said) > wanted.tolerance:
        raise _Fault(
            reason,
            sum=number_key(sum_)[:100],
            said=number_key(said)[:100],
            difference=number_key(said - sum_)[:100],
            **more,
        )


def _refuse_unfit(wanted: Wanted) -> None:
    """Raises `BadCheck` for options that check nothing, or not what they seem to."""
    places = wanted.places
    if not isinstance(wanted.sign, str) or wanted.sign not in SIGNS:
        raise BadCheck(f"sign is one of: {', '.join(SIGNS)}", param="sign")
    if not (wanted.items or {"cells", "debits"} & places.keys()):
        raise BadCheck("name the amounts: items, cells, or debits and credits", param="items")
    for one, other in (("debits", "credits"), ("credits", "debits"), ("row_totals", "cells")):
        if one in places and other not in places:
            raise BadCheck(f"'{one}' needs '{other}'", param=other)
    if "column_totals" in places and "cells" not in places:
        raise BadCheck("'column_totals' needs 'cells'", param="cells")
    stars = {"total": 0, "cells": 2, "row_totals": 1, "column_totals": 1}
    for name, count in stars.items():
        if name in places and places[name].count("*") != count:
            raise BadCheck(f"the pointer of {name} has {count} '*'", param=name)
    if "cells" in places and not {"row_totals", "column_totals", "total"} & places.keys():
        raise BadCheck("'cells' needs row_totals, column_totals or total", param="cells")
    alone = wanted.items and "total" not in places and wanted.expected_items is None
    if alone and wanted.sign == "any" and wanted.least <= 1 and wanted.most is None:
        raise BadCheck("nothing to compare the items with: name the total", param="total")
    if wanted.expected_total is not None and "total" not in places:
        raise BadCheck("'expected_total' needs 'total'", param="total")
    if wanted.expected_items is not None and not wanted.items:
        raise BadCheck("'expected_items' needs 'items'", param="items")


def _read_items(given: Any) -> tuple[Pointer, ...]:
    if given is None:
        return ()
    if isinstance(given, str):
        return (read_pointer(given, "items"),)
    if not isinstance(given, list | tuple) or not 0 < len(given) <= MAX_POINTERS:
        raise BadCheck(f"items is a pointer or a list of up to {MAX_POINTERS}", param="items")
    return tuple(read_pointer(text, f"items[{index}]") for index, text in enumerate(given))


def _read_count(given: Any) -> dict[str, Any]:
    if given is None:
        return {"least": 1, "most": None}
    bounds = given if isinstance(given, list | tuple) else [given, given]
    whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds)
    if not whole or len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1]:
        raise BadCheck("count is a number, or [least, most]", param="count")
    return {"least": bounds[0], "most": bounds[1]}


def _read_expected(options: Mapping[str, Any]) -> tuple[Fraction, ...] | None:
    given = options.get("expected_items")
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not 0 < len(given) <= MAX_EXPECTED:
        raise BadCheck("expected_items is a list of amounts", param="expected_items")
    return tuple(read_amount(each, f"expected_items[{index}]") for index, each in enumerate(given))


def _shown(path: Pointer) -> str:
    return write_pointer(path)[:200]
