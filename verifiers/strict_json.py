"""Strict JSON: the one parser for texts that a model wrote.

It refuses what lenient parsers let through: duplicate keys, NaN and Infinity, lone surrogates,
deep nesting, endless digit runs. Integers stay `int` and all other numbers become `Decimal`, so no
value ever passes through a binary double. It does not repair anything: fenced JSON is not JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_CHARS = 100_000
"""Longest text that may be parsed on the event loop; a worker may raise it."""
MAX_DEPTH = 128
MAX_DIGITS = 1_000
"""Digits of one number, written out in full (so the exponent counts too)."""

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class NotStrictJson(ValueError):
    """This text is not strict JSON."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """Short code: `bad_json`, `duplicate_key`, `too_deep`, `too_long`, …"""


def parse_json(text: str, *, max_chars: int = MAX_CHARS) -> Any:
    """The value of a whole text. Raises `NotStrictJson`; never a RecursionError."""
    if len(text) > max_chars:
        raise NotStrictJson("too_long", f"longer than {max_chars} characters")
    _refuse_depth(text)
    _refuse_surrogates(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as broken:
        raise NotStrictJson("bad_json", f"{broken.msg} at character {broken.pos}") from None
    if _SURROGATE_ESCAPE.search(text):
        _refuse_surrogates(dump_canonical(value))
    return value


def dump_canonical(value: Any) -> str:
    """Canonical JSON text of a parsed value: sorted keys, no spaces, one spelling per number.

    Numbers are compared by value: `1`, `1.0` and `1e0` are written alike; `true` is not a number.
    """
    if isinstance(value, str):
        return _quote(value)
    if type(value) is int:
        return str(value)
    if isinstance(value, dict):
        pairs = (f"{_quote(key)}:{dump_canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump_canonical, value)) + "]"
    if isinstance(value, Decimal):
        return _plain_decimal(value)
    return _CONSTANTS[value]


def _refuse_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.findall(text):
        if token in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotStrictJson("too_deep", f"nested more than {MAX_DEPTH} levels")
        elif token in "]}":
            depth -= 1


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise NotStrictJson("duplicate_key", f"key {_quote(key[:80])} occurs twice")
        found[key] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotStrictJson("number_too_long", f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _decimal(digits: str) -> Decimal:
    if len(digits) > MAX_DIGITS:
        raise NotStrictJson("number_too_long", f"a number has more than {MAX_DIGITS} digits")
    try:
        value = Decimal(digits)
    except InvalidOperation:
        value = Decimal("Infinity")
    if not value.is_finite() or abs(value.adjusted()) > MAX_DIGITS:
        raise NotStrictJson("number_too_long", f"a number has more than {MAX_DIGITS} digits")
    return value


def _constant(name: str) -> None:
    raise NotStrictJson("bad_constant", f"{name} is not JSON")


def _plain_decimal(value: Decimal) -> str:
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotStrictJson("bad_unicode", "a string holds half of a surrogate pair") from None


_quote = json.encoder.encode_basestring
_CONSTANTS = {True: "true", False: "false", None: "null"}
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_decimal, parse_constant=_constant
)
