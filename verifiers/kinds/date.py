"""`date`: the answer is this day.

With a reference a pass is proof. `03/05/2024` is two days, and no answer unless `day_order` says
which. It knows no times, time zones or days relative to today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

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
    register,
)
from verifiers.by_key import compare_key, prepare_text
from verifiers.canonical import NotCanonical, date_key
from verifiers.extract import known_rules
from verifiers.places import read_rule


@register
class Date:
    name: ClassVar[str] = "date"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right day, e.g. `2024-03-05`; without it nothing is proven.",
        "day_order": "How `03/05/2024` is read: `dmy` or `mdy`. Default: it is no answer.",
        "extract": "The rule that finds the answer. Default: `auto`, all of them in their order.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        order = options.get("day_order", "")
        if order not in ("", "dmy", "mdy"):
            raise BadCheck(f"day_order must be dmy or mdy, got {order!r:.40}", param="day_order")
        rule = read_rule(options.get("extract", "auto"), known_rules("date"))
        contract = AnswerContract(kind="date", rule=rule, day_order=order)
        return prepare_text(options, contract, lambda text: _read_reference(text, order))

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        return compare_key(prepared.payload, answer)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """No day, and two of them."""
        texts = ("Answer: 2024-02-31", "Answer: 2024-01-01\nAnswer: 2024-01-02")
        return tuple(Candidate(text=text) for text in texts)


def _read_reference(text: str, order: Literal["", "dmy", "mdy"]) -> str:
    try:
        return date_key(text, order)
    except NotCanonical as refused:
        raise BadCheck(
            f"reference is not one day ({refused.reason}): {text[:60]!r}", param="reference"
        ) from None
