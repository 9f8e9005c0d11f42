"""What one instruction is: an id, the arguments it takes, and a function that checks a text.

The ids and argument names are those of IFEval and IFBench, so their data sets work as they are.
Arguments are read once, strictly; a checker gets clean values and never a surprise.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_COUNT = 1_000_000
MAX_TEXT_CHARS = 20_000
MAX_TEXTS = 200

Holds = bool | None
"""True or False when it is certain, None when rules cannot tell."""
Read = Callable[[object], Any]
"""A given value → the clean one. Raises ValueError with what is wanted."""

RELATIONS: Mapping[str, Callable[[int, int], bool]] = {
    "at least": operator.ge,
    "less than": operator.lt,
    "at most": operator.le,
    "more than": operator.gt,
    "exactly": operator.eq,
}
"""`at least` and `less than` are IFEval's; the others are ours."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One kind of constraint."""

    id: str
    arguments: Mapping[str, Read]
    check: Callable[..., Holds]
    """Called with the text and the arguments by name."""


class BadInstruction(ValueError):
    """An instruction that cannot be used as given."""

    def __init__(self, message: str, argument: str) -> None:
        super().__init__(message)
        self.argument = argument
        """`id` or the name of the argument."""


_KNOWN: dict[str, Instruction] = {}


def instruction(
    id: str, **arguments: Read
) -> Callable[[Callable[..., Holds]], Callable[..., Holds]]:
    """Decorator: make the checker known under an IFEval or IFBench id."""

    def keep(check: Callable[..., Holds]) -> Callable[..., Holds]:
        _KNOWN[id] = Instruction(id, arguments, check)
        return check

    return keep


def known_ids() -> tuple[str, ...]:
    """Every id that can be checked, in order."""
    return tuple(sorted(_KNOWN))


def read_instruction(given: Mapping[str, Any]) -> tuple[Instruction, dict[str, Any]]:
    """The instruction and its clean arguments. Raises `BadInstruction`.

    Arguments stand beside `id` or, as in the data sets, under `kwargs`; null is not given.
    """
    found = _KNOWN.get(str(given.get("id")))
    if found is None:
        raise BadInstruction(_unknown(given.get("id")), "id")
    nested = given.get("kwargs")
    if nested is not None and not isinstance(nested, Mapping):
        raise BadInstruction("kwargs must be an object", "kwargs")
    beside = {name: value for name, value in given.items() if name not in ("id", "kwargs")}
    all_given = {**(nested or {}), **beside}
    wanted = {name: value for name, value in all_given.items() if value is not None}
    for name in wanted:
        if name not in found.arguments:
            takes = ", ".join(found.arguments) or "no arguments"
            raise BadInstruction(f"'{found.id}' has no '{name}'; it takes {takes}", str(name))
    return found, {name: _read(found, name, wanted) for name in found.arguments}


def _read(found: Instruction, name: str, wanted: Mapping[str, Any]) -> Any:
    if name not in wanted:
        raise BadInstruction(f"'{found.id}' needs {name}", name)
    try:
        return found.arguments[name](wanted[name])
    except ValueError as unfit:
        raise BadInstruction(f"{name} {unfit}, got {wanted[name]!r:.60}", name) from None


def _unknown(id: object) -> str:
    near = difflib.get_close_matches(str(id), _KNOWN, n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown instruction '{str(id)[:80]}'{hint} docs/verifiers.md lists the known ones"


def count(value: object) -> int:
    """A whole number from 0 on; `5.0` is one, because the data sets write it so."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError("must be a whole number")
    if not 0 <= value <= MAX_COUNT:
        raise ValueError(f"must be from 0 to {MAX_COUNT}")
    return int(value)


def position(value: object) -> int:
    """A whole number from 1 on."""
    number = count(value)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def percent(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError("must be a number from 0 to 100")
    return float(value)


def relation(value: object) -> Callable[[int, int], bool]:
    if not isinstance(value, str) or value not in RELATIONS:
        raise ValueError(f"must be one of {', '.join(RELATIONS)}")
    return RELATIONS[value]


def phrase(value: object) -> str:
    """A text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    if len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"must have at most {MAX_TEXT_CHARS} characters")
    return value.strip()


def letter(value: object) -> str:
    """One character."""
    if len(phrase(value)) != 1:
        raise ValueError("must be one character")
    return phrase(value).lower()


def phrases(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_TEXTS:
        raise ValueError(f"must be a list of 1 to {MAX_TEXTS} texts")
    return tuple(phrase(item) for item in value)
