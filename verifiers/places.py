"""Where in a text an answer may be committed, apart from answer lines: one function a rule.

Each takes the text after the thinking part and gives the phrases found, empty when the rule does
not apply. `json:/path` and `tag:name` carry a parameter after the colon.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from verifiers.base import BadCheck
from verifiers.json_pointer import Pointer, find, read_pointer
from verifiers.strict_json import NotStrictJson, dump_canonical, parse_json
from verifiers.trimming import unfence_json

Finder = Callable[[str], Sequence[str]]

DEFAULT_TAG = "answer"
PLACES = ("tagged", "last_fence", "tag:", "json:")
"""Rules that every kind with a short answer knows by name; the last two take a parameter."""


def read_rule(rule: object, known: Sequence[str], param: str = "extract") -> str:
    """A rule's name as an option gives it. Raises `BadCheck` at `param`."""
    names = ("auto", *known, *(name for name in PLACES if name not in known))
    if not isinstance(rule, str):
        raise BadCheck("a rule is a name", param=param)
    if rule in names and not rule.endswith(":"):
        return rule
    if rule.startswith("json:"):
        read_pointer(rule.removeprefix("json:"), param)
        return rule
    if _TAG_RULE.fullmatch(rule):
        return rule
    listed = ", ".join(name + ("…" if name.endswith(":") else "") for name in names)
    raise BadCheck(f"'{rule[:40]}' is no rule; known: {listed}", param=param)


def place(rule: str) -> Finder | None:
    """The finder of a rule of `PLACES`, or None."""
    if rule == "last_fence":
        return last_fence
    if rule == "tagged" or _TAG_RULE.fullmatch(rule):
        tag = rule.partition(":")[2] or DEFAULT_TAG
        return lambda text: tagged(text, tag)
    if rule.startswith("json:"):
        pointer = read_pointer(rule.removeprefix("json:"), "extract")
        return lambda text: pointed(text, pointer)
    return None


def tagged(text: str, tag: str = DEFAULT_TAG) -> Sequence[str]:
    """Insides of `<answer>…</answer>`; one that is never closed holds nothing."""
    found, opened = [], -1
    for mark in re.finditer(rf"<(/?){tag}>", text, re.IGNORECASE):
        if not mark[1]:
            found += [""] if opened >= 0 else []
            opened = mark.end()
        elif opened >= 0:
            found.append(text[opened : mark.start()].strip())
            opened = -1
    return [*found, ""] if opened >= 0 else found


def last_fence(text: str) -> Sequence[str]:
    """The inside of the last code fence."""
    fences = _ANY_FENCE.findall(text)
    return [fences[-1]] if fences else []


def pointed(text: str, pointer: Pointer) -> Sequence[str]:
    """What the pointer means in the JSON of the text: all of it, or its last fence."""
    fences = last_fence(text)
    for written in (text, unfence_json(text), *fences):
        if written is None or not written.lstrip().startswith(("{", "[", '"')):
            continue
        try:
            value = parse_json(written.strip())
        except NotStrictJson:
            return [""]
        return [_as_text(found) for _, found in find(value, pointer)] or [""]
    return []


def bullets(text: str) -> Sequence[str]:
    """The one block of at least two bullet or numbered lines, as one phrase."""
    blocks = [found[0].strip() for found in _BULLET_BLOCK.finditer(text)]
    return blocks if blocks and len(blocks) == 1 else []


def last_formula(text: str) -> Sequence[str]:
    """The formulas of the last line that holds one: `$…$`, `\\(…\\)`, `\\[…\\]`."""
    found = formulas(text)
    if not found:
        return []
    line_start = text.rfind("\n", 0, found[-1][0]) + 1
    return [inside for start, inside in found if start >= line_start]


def formulas(text: str) -> list[tuple[int, str]]:
    """Every formula with where it starts; found in one pass, whatever is left unclosed."""
    found, opened, closing = [], -1, ""
    for mark in _DELIMITER.finditer(text):
        if opened >= 0 and mark[0] == closing:
            if text[opened : mark.start()].strip():
                found.append((opened, text[opened : mark.start()]))
            opened = -1
        elif mark[0] in _CLOSING:
            opened, closing = mark.end(), _CLOSING[mark[0]]
    return found


def only_formula(phrase: str) -> str:
    """The one formula in a phrase with words around it; else the phrase up to its full stop."""
    found = formulas(phrase)
    if len(found) == 1:
        return found[0][1]
    return _SENTENCE_END.split(phrase, maxsplit=1)[0].strip().strip("*").strip()


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return dump_canonical(value) if not isinstance(value, bool) else json.dumps(value)


_TAG_RULE = re.compile(r"tag:([A-Za-z][\w-]{0,30})")
_ANY_FENCE = re.compile(r"^[ \t]{0,8}```[^\n`]{0,40}\n(.*?)\n?^[ \t]{0,8}```", re.S | re.M)
_BULLET_BLOCK = re.compile(
    r"(?:^[ \t]{0,8}(?:[-*•+]|\(?[0-9]{1,3}[.)])[ \t]+[^\n]{1,400}(?:\n|\Z)){2,}", re.M
)
_DELIMITER = re.compile(r"\$\$|(?<!\\)\$|\\[()\[\]]")
_CLOSING = {"$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]"}
_SENTENCE_END = re.compile(
    r"(?<=[\w)}\]$%])[.!;](?:\s|$)|,?\s(?:because|since|which|where|so)\b|\n"
)
