"""JSON texts and tool calls: keys that never pass through a double."""

from __future__ import annotations

from collections.abc import Sequence

from verifiers.base import ToolCall
from verifiers.canonical.cleaning import NotCanonical, shorten_key
from verifiers.strict_json import NotStrictJson, dump_canonical, parse_json

MAX_ARGUMENT_CHARS = 100_000


def json_key(text: str) -> str:
    """Key of a JSON text, whole and strict. Raises `NotCanonical`."""
    try:
        return shorten_key(dump_canonical(parse_json(text)))
    except NotStrictJson as refused:
        raise NotCanonical(refused.reason) from None


def calls_key(calls: Sequence[ToolCall]) -> str:
    """Key of tool calls: names with canonical arguments, in sorted order, joined by `; `."""
    if sum(len(call.arguments) for call in calls) > MAX_ARGUMENT_CHARS:
        raise NotCanonical("too_long")
    try:
        written = [f"{c.name}({dump_canonical(parse_json(c.arguments))})" for c in calls]
    except NotStrictJson as refused:
        raise NotCanonical(refused.reason) from None
    return shorten_key("; ".join(sorted(written)))
