"""What stands around an answer and is none of it: the thinking part, a fence around all of it."""

from __future__ import annotations

import re

from verifiers.strict_json import MAX_CHARS as MAX_JSON_CHARS
from verifiers.strict_json import NotStrictJson, parse_json


def after_thinking(text: str) -> str | None:
    """What follows the thinking part; None when the text is still thinking at its end."""
    end = max((found.end() for found in _THINK_END.finditer(text)), default=0)
    text = text[end:]
    return None if _THINK_START.match(text) else text.strip()


def unfence_json(text: str) -> str | None:
    """The inside of a text that is exactly one code fence around JSON, byte for byte."""
    fenced = _FENCE.fullmatch(text) if len(text) <= MAX_JSON_CHARS else None
    if fenced is None:
        return None
    inside = fenced[1].strip("\r\n")
    try:
        parse_json(inside)
    except NotStrictJson:
        return None
    return inside


_NAME = r"(?:think|thinking|thought|reasoning)"
_THINK_END = re.compile(
    rf"</(?:\w{{1,8}}:)?{_NAME}>|\[/{_NAME}\]|◁/{_NAME}▷"
    r"|<\|channel\|>final(?:[^<\n]{0,40})<\|message\|>",
    re.IGNORECASE,
)
_THINK_START = re.compile(
    rf"\s{{0,100}}(?:<(?:\w{{1,8}}:)?{_NAME}>|\[{_NAME}\]|◁{_NAME}▷|<\|channel\|>analysis)",
    re.IGNORECASE,
)
_FENCE = re.compile(r"\s*```(?:json|JSON)?[ \t]*\r?\n(.*?)\r?\n?[ \t]*```\s*", re.DOTALL)
