"""Two values → equal, different or unknown.

`different` is claimed only where it is certain: other normal forms of polynomials, radicals and at
most one of π and e, or numbers that differ in the first forty digits. `equal` is the same normal
form, or fifty common digits at several points; the second engine must then say so too.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from verifiers.algebra import forms, numeric
from verifiers.algebra.forms import EULER, PI, Scalar
from verifiers.algebra.limits import NotMath, Work
from verifiers.algebra.values import Value

Relation = Literal["equal", "different", "unknown"]

POINTS = 4
_CLOSE = Decimal(10) ** -50
_APART = Decimal(10) ** -40


def compare(left: Value, right: Value, work: Work) -> Relation:
    """How two values relate. Raises `NotMath` only when the budget is spent."""
    if left.key == right.key:
        return "equal"
    if left.scalar is not None and right.scalar is not None:
        return _compare_scalars(left.scalar, right.scalar, work)
    if (left.kind, left.name if left.kind != "infinity" else "") != (
        right.kind,
        right.name if right.kind != "infinity" else "",
    ):
        return "different"
    if left.kind in ("set", "union"):
        return _compare_sets(left.parts, right.parts, work)
    if len(left.parts) != len(right.parts) or not left.parts:
        return "different"
    pairs = zip(left.parts, right.parts, strict=True)
    return _all_of([compare(one, other, work) for one, other in pairs])


def _all_of(found: Sequence[Relation]) -> Relation:
    if "different" in found:
        return "different"
    return "unknown" if "unknown" in found else "equal"


def _compare_sets(left: Sequence[Value], right: Sequence[Value], work: Work) -> Relation:
    """Every element has its equal on the other side, both ways."""
    table = [[compare(one, other, work) for other in right] for one in left]
    lines = [*table, *([row[column] for row in table] for column in range(len(right)))]
    if all("equal" in line for line in lines):
        return "equal"
    hopeless = any("equal" not in line and "unknown" not in line for line in lines)
    return "different" if hopeless else "unknown"


def _compare_scalars(left: Scalar, right: Scalar, work: Work) -> Relation:
    difference = forms.subtract(left, right, work)
    if not difference.top:
        return "equal"
    if _is_plain(left) and _is_plain(right):
        return "different"
    return _compare_digits(left, right, work)


def _is_plain(value: Scalar) -> bool:
    """Made of rationals, radicals and symbols, and of one transcendental constant at most."""
    return all(atom.rank < 4 for atom in value.atoms) and not {PI, EULER} <= value.atoms


def _compare_digits(left: Scalar, right: Scalar, work: Work) -> Relation:
    symbols = sorted(left.symbols | right.symbols)
    close = 0
    for point in range(POINTS * 3 if symbols else 1):
        work.spend(200)
        at = {name: _coordinate(point, index) for index, name in enumerate(symbols)}
        try:
            one, other = numeric.evaluate(left, at), numeric.evaluate(right, at)
        except NotMath:
            continue
        size = max(abs(part) for part in (*one, *other))
        gap = max(abs(a - b) for a, b in zip(one, other, strict=True))
        if gap > size * _APART:
            return "different"
        close += gap <= size * _CLOSE
    return "equal" if close >= (POINTS if symbols else 1) else "unknown"


def _coordinate(point: int, index: int) -> Fraction:
    """Points that no identity was made for: irregular, of both signs, all different."""
    sign = -1 if point % 2 else 1
    return sign * Fraction(37 + 41 * point + 29 * index, 53 + 7 * index + 11 * point)
