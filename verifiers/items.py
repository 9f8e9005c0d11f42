"""What the kinds `set` and `list` share: options, the reference, and what a wrong answer earns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from verifiers.base import Answer, AnswerContract, BadCheck, Finding, Prepared, Status
from verifiers.by_key import compare_key
from verifiers.canonical import NotCanonical
from verifiers.canonical.collections import item_keys, join_keys, split_items
from verifiers.options import read_flag

MAX_SEPARATOR_CHARS = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    items: tuple[str, ...]
    """Keys of the right items, sorted unless order matters."""
    partial: bool

    @property
    def key(self) -> str:
        return join_keys(self.items)


def read_separator(options: Mapping[str, Any]) -> str:
    separator = options.get("separator", "")
    named = separator == "newline"
    if not isinstance(separator, str) or not (named or len(separator) <= MAX_SEPARATOR_CHARS):
        raise BadCheck(
            f"a separator has at most {MAX_SEPARATOR_CHARS} characters, or is `newline`",
            param="separator",
        )
    return separator


def prepare_items(options: Mapping[str, Any], contract: AnswerContract) -> Prepared:
    """The prepared reference: a list of texts and numbers, or a text in the task's own form."""
    reference, partial = options.get("reference"), read_flag(options, "partial")
    if reference is None:
        if partial:
            raise BadCheck("'partial' needs a reference", param="partial")
        return Prepared(payload=None, contract=contract)
    if isinstance(reference, list | tuple):
        for index, item in enumerate(reference):
            if isinstance(item, bool) or not isinstance(item, str | int | float):
                raise BadCheck("an item is a text or a number", param=f"reference[{index}]")
        items = [str(item) for item in reference]
    elif isinstance(reference, str):
        items = _split(reference, contract.separator)
    else:
        raise BadCheck("reference must be a list or a text", param="reference")
    try:
        keys = _keys(items, contract)
    except NotCanonical as refused:
        raise BadCheck(f"reference has no items: {refused.reason}", param="reference") from None
    return Prepared(payload=Wanted(tuple(keys), partial), contract=contract, decisive=True)


def compare_items(prepared: Prepared, answer: Answer) -> Finding:
    """A pass when all items are right; else a fail, which may have earned something."""
    wanted: Wanted | None = prepared.payload
    found = compare_key(wanted.key if wanted is not None else None, answer)
    if wanted is None or not wanted.partial or answer.key is None or found.status is Status.PASS:
        return found
    contract = prepared.contract
    assert contract is not None
    said = _keys(split_items(answer.text, contract.separator), contract)
    right = (_count_in_order if _is_ordered(contract) else _count_common)(said, wanted.items)
    evidence = {**found.evidence, "right": right, "said": len(said), "wanted": len(wanted.items)}
    score = 2 * right / (len(said) + len(wanted.items))
    return replace(found, score=score, evidence=evidence)


def _is_ordered(contract: AnswerContract) -> bool:
    return contract.kind == "list" and contract.order == "same"


def _keys(items: Sequence[str], contract: AnswerContract) -> list[str]:
    return item_keys(items, ordered=_is_ordered(contract), dedup=contract.dedup)


def _split(text: str, separator: str) -> list[str]:
    try:
        return split_items(text, separator)
    except NotCanonical as refused:
        raise BadCheck(f"reference cannot be split: {refused.reason}", param="reference") from None


def _count_common(said: Sequence[str], wanted: Sequence[str]) -> int:
    """How many items both have; one that comes twice is two."""
    return (Counter(said) & Counter(wanted)).total()


def _count_in_order(said: Sequence[str], wanted: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of bits at a time (Allison and Dix 1986)."""
    places: dict[str, int] = defaultdict(int)
    for index, item in enumerate(wanted):
        places[item] |= 1 << index
    row = 0
    for item in said:
        open_ = row | places.get(item, 0)
        row = open_ & (open_ ^ (open_ - ((row << 1) | 1)))
    return row.bit_count()
