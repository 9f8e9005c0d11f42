"""Programs in completions: which block is meant, found by a named rule and in linear time.

The last fenced block that defines what is asked for is the program; install lines, examples and
output stand in other blocks. Nothing is parsed here: the program is a stranger's.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

PYTHON_TAGS = ("", "py", "py3", "python", "python3", "python2", "ipython", "ipython3", "code")


class Program(NamedTuple):
    """A program and the rule that found it."""

    source: str
    rule: str
    """`defining_fence`, `last_fence` or `whole_text`."""


def find_program(text: str, names: Sequence[str] = ()) -> Program | None:
    """The program that a text commits to, or None. `names`: what it should define."""
    blocks = [body for tag, body in _fences(text) if tag.casefold() in PYTHON_TAGS]
    for body in reversed(blocks if names else []):
        if defines(body, names):
            return Program(body, "defining_fence")
    if blocks:
        return Program(blocks[-1], "last_fence")
    if "```" not in text and (defines(text, names) if names else _CODE_LINE.match(text)):
        return Program(text, "whole_text")
    return None


def defines(source: str, names: Sequence[str]) -> bool:
    """True when every name is defined on the outermost level, by its looks."""
    return all(
        re.search(rf"^(?:(?:async )?def|class)[ \t]+{re.escape(name)}\b", source, re.MULTILINE)
        or re.search(rf"^{re.escape(name)}[ \t]*(?::[^=\n]*)?=(?!=)", source, re.MULTILINE)
        for name in names
    )


def program_key(source: str) -> str:
    """Vote key by text: white space at line ends, empty lines and comment lines do not count."""
    lines = (line.rstrip() for line in source.splitlines())
    kept = [line for line in lines if line and not line.lstrip().startswith("#")]
    return "source:" + hashlib.sha256("\n".join(kept).encode("utf-8", "replace")).hexdigest()[:32]


def _fences(text: str) -> Iterator[tuple[str, str]]:
    """Tag and body of every fenced block; one that is left open ends with the text."""
    opened: re.Match[str] | None = None
    body: list[str] = []
    for line in text.splitlines():
        if opened is None:
            opened, body = _OPEN.match(line), []
        elif _closes(line, opened["fence"]):
            yield opened["tag"], _body(body)
            opened = None
        else:
            body.append(line)
    if opened is not None:
        yield opened["tag"], _body(body)


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and not bare.strip(fence[0])


def _body(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines)) + "\n"


_OPEN = re.compile(r"[ \t>]{0,12}(?P<fence>`{3,20}|~{3,20})[ \t]{0,4}(?P<tag>[\w+.-]{0,20})[^`]*$")
_CODE_LINE = re.compile(
    r"\s*(?:#|import |from \w|def |class |async def |@|print\(|for |while |if |try:|with |\w+ ?=)"
)
