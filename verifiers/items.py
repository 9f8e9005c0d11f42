"""What the kinds `set` and `list` share: options and the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verifiers.base import AnswerContract, BadCheck, Prepared
from verifiers.canonical import NotCanonical
from verifiers.canonical.collections import collection_key, split_items

MAX_SEPARATOR_CHARS = 8


def read_separator(options: Mapping[str, Any]) -> str:
    separator = options.get("separator", "")
    named = separator == "newline"
    if not isinstance(separator, str) or not (named or len(separator) <= MAX_SEPARATOR_CHARS):
        raise BadCheck(
            f"a separator has at most {MAX_SEPARATOR_CHARS} characters, or is `newline`",
            param="separator",
        )
    return separator


def read_items_reference(reference: object, contract: AnswerContract) -> Prepared:
    """The prepared reference: a list of texts and numbers, or a text in the task's own form."""
    if reference is None:
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
    ordered = contract.kind == "list" and contract.order == "same"
    try:
        key = collection_key(items, ordered=ordered, dedup=contract.dedup)
    except NotCanonical as refused:
        raise BadCheck(f"reference has no items: {refused.reason}", param="reference") from None
    return Prepared(payload=key, contract=contract, decisive=True)


def _split(text: str, separator: str) -> list[str]:
    try:
        return split_items(text, separator)
    except NotCanonical as refused:
        raise BadCheck(f"reference cannot be split: {refused.reason}", param="reference") from None
