"""How kinds read the options that several of them have in the same form.

Each reader takes the options and the name of one, and raises `BadCheck` at that name for what it
cannot use. A form that only one kind knows is read in that kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from verifiers.base import BadCheck
from verifiers.canonical import NotCanonical, read_quantity
from verifiers.canonical.conversion import to_base
from verifiers.canonical.numbers import Conversion
from verifiers.canonical.units import PercentPolicy, UnitPolicy


def choose(options: Mapping[str, Any], name: str, known: Sequence[str]) -> Any:
    """One of the known words; the first is the default."""
    value = options.get(name, known[0])
    if value not in tuple(known):
        raise BadCheck(f"{name} must be one of {', '.join(known)}, got {value!r:.40}", param=name)
    return value


def read_flag(options: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise BadCheck(f"{name} is true or false", param=name)
    return value


def read_number_between(
    options: Mapping[str, Any], name: str, default: float, least: float, most: float
) -> float:
    value = options.get(name, default)
    if not is_number(value) or not least <= value <= most:
        raise BadCheck(f"{name} is a number from {least} to {most}", param=name)
    return float(value)


def read_whole_between(
    options: Mapping[str, Any], name: str, default: int, least: int, most: int
) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadCheck(f"{name} is a number from {least} to {most}", param=name)
    return value


def read_amount(given: Any, param: str) -> Fraction:
    """A number or its text, by the digits that are written."""
    return read_measure(given, param)[0]


def read_measure(
    given: Any,
    param: str,
    percent: PercentPolicy = "drop",
    units: UnitPolicy = "drop",
    *,
    convert: Conversion = to_base,
) -> tuple[Fraction, str]:
    """The same with its unit, where the policy keeps one."""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise BadCheck(f"{param} must be a number or its text", param=param)
    try:
        return read_quantity(str(given), percent, units, convert=convert)
    except NotCanonical:
        raise BadCheck(f"{param} is not one number: {given!r:.60}", param=param) from None


def read_tolerance(options: Mapping[str, Any]) -> Fraction:
    """Largest allowed difference; 0 when none is given."""
    return not_negative(read_amount(options.get("tolerance", 0), "tolerance"))


def not_negative(tolerance: Fraction) -> Fraction:
    if tolerance < 0:
        raise BadCheck("a tolerance is not negative", param="tolerance")
    return tolerance


def is_number(value: Any) -> bool:
    """True for numbers of JSON; `true` and `false` are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
