"""`list`: the answer is these items, in this order.

With a reference a pass is proof. `order: any` makes it a bag: the same items as often, in any
order. Without a reference it only says what to vote on. A pass needs all of them; with `partial`
what is right of a wrong answer still earns a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    register,
)
from verifiers.extract import known_rules
from verifiers.items import compare_items, prepare_items, read_separator
from verifiers.places import read_rule


@register
class List:
    name: ClassVar[str] = "list"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right items, a list or a text; without it nothing is proven.",
        "order": "`same` (default) or `any`.",
        "dedup": "Whether repeated items count once. Default: false.",
        "partial": "`true`: a wrong answer earns the F1 of its items in order. Default: nothing.",
        "separator": "What stands between items, e.g. `;` or `newline`. Default: found out.",
        "extract": "The rule that finds the answer. Default: `auto`, all of them in their order.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        order, dedup = options.get("order", "same"), options.get("dedup", False)
        if order not in ("same", "any"):
            raise BadCheck(f"order must be same or any, got {order!r:.40}", param="order")
        if not isinstance(dedup, bool):
            raise BadCheck(f"dedup must be true or false, got {dedup!r:.40}", param="dedup")
        contract = AnswerContract(
            kind="list",
            rule=read_rule(options.get("extract", "auto"), known_rules("list")),
            order=order,
            dedup=dedup,
            separator=read_separator(options),
        )
        return prepare_items(options, contract)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        return compare_items(prepared, answer)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Two answers are none."""
        return (Candidate(text="Answer: 1, 2\nAnswer: 3, 4"),)
