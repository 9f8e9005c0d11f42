"""`set`: the answer is these items, in any order and each once.

With a reference a pass is proof. Numbers are compared by value, formulas by their form, the rest as
short texts. Without a reference it only says what to vote on. A pass needs all of them; with
`partial` what is right of a wrong answer still earns a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from verifiers.base import (
    Answer,
    AnswerContract,
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
class Set:
    name: ClassVar[str] = "set"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "inline"
    options: ClassVar[Mapping[str, str]] = {
        "reference": "The right items, a list or a text; without it nothing is proven.",
        "partial": "`true`: a wrong answer earns the F1 of its items. Default: nothing.",
        "separator": "What stands between items, e.g. `;` or `newline`. Default: found out.",
        "extract": "The rule that finds the answer. Default: `auto`, all of them in their order.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        contract = AnswerContract(
            kind="set",
            rule=read_rule(options.get("extract", "auto"), known_rules("set")),
            dedup=True,
            separator=read_separator(options),
        )
        return prepare_items(options, contract)

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        return compare_items(prepared, answer)

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Two answers are none."""
        return (Candidate(text="Answer: 1, 2\nAnswer: 3, 4"),)
