"""Marks, brackets, quotes and emoji."""

from __future__ import annotations

import re
from collections.abc import Iterable

from verifiers.kinds.constraint_checks.instruction import Holds, instruction
from verifiers.kinds.constraint_checks.segments import sentences

LEVELS_OF_BRACKETS = 5
LEVELS_OF_QUOTES = 3


@instruction("punctuation:no_comma")
def has_no_comma(text: str) -> bool:
    """Also none of the commas of other scripts."""
    return not _COMMA.search(text)


@instruction("count:punctuation")
def every_mark(text: str) -> bool:
    """`.`, `,`, `!`, `?`, `;`, `:` and beside them an interrobang."""
    interrobang = _INTERROBANG.search(text)
    if interrobang is None:
        return False
    rest = text[: interrobang.start()] + text[interrobang.end() :]
    return all(mark in rest for mark in ".,!?;:")


@instruction("format:parentheses")
def nested_brackets(text: str) -> bool:
    """A well-formed nest of brackets five levels deep; a mismatch starts over."""
    open_ones: list[str] = []
    deepest = 0
    for char in text:
        if char in _CLOSES.values():
            open_ones.append(char)
            deepest = max(deepest, len(open_ones))
        elif char in _CLOSES:
            if not open_ones or open_ones.pop() != _CLOSES[char]:
                open_ones, deepest = [], 0
            elif deepest >= LEVELS_OF_BRACKETS:
                return True
    return False


@instruction("format:quotes")
def nested_quotes(text: str) -> Holds:
    """Quotes in quotes in quotes, `"` and `'` in turn.

    None where it hangs on whether an apostrophe in a word is taken for a quote.
    """
    straight = text.translate(_STRAIGHT)
    without, with_apostrophes = (
        _is_nested(found[0] for found in pattern.finditer(straight))
        for pattern in (_QUOTE, _QUOTE_OR_APOSTROPHE)
    )
    return without if without == with_apostrophes else None


def _is_nested(marks: Iterable[str]) -> bool:
    open_ones: list[str] = []
    deepest = 0
    for mark in marks:
        if open_ones and open_ones[-1] == mark:
            open_ones.pop()
            if deepest - len(open_ones) >= LEVELS_OF_QUOTES:
                return True
        else:
            open_ones.append(mark)
            deepest = max(deepest, len(open_ones))
    return False


@instruction("format:quote_unquote")
def quotes_are_explained(text: str) -> bool:
    """After every quoted phrase come unquoted words."""
    parts = text.translate(_STRAIGHT).split('"')
    if len(parts) % 2 == 0:
        return False
    return all(_LETTER.search(part) for part in parts[2::2])


@instruction("format:emoji")
def emoji_after_sentences(text: str) -> bool:
    """Every sentence ends with an emoji, before or after its mark."""
    found = sentences(text)
    for index, sentence in enumerate(found):
        following = found[index + 1] if index + 1 < len(found) else ""
        if not _EMOJI_LAST.search(sentence) and not _EMOJI_FIRST.match(following):
            return False
    return bool(found)


_COMMA = re.compile("[,،、﹐，]")
_INTERROBANG = re.compile(r"\?!|!\?|‽")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_QUOTE = re.compile(r"\"|(?<!\w)'|'(?!\w)")
_QUOTE_OR_APOSTROPHE = re.compile("[\"']")
_STRAIGHT = str.maketrans("“”„‘’", '"""\'\'')
_LETTER = re.compile(r"[^\W_]")
_ONE_EMOJI = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u25fe"
    "\u2600-\u27bf\u2934-\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_EMOJI_PART = "[\u200d\ufe0f\U0001f3fb-\U0001f3ff]"
_EMOJI_LAST = re.compile(rf"{_ONE_EMOJI}{_EMOJI_PART}*[\s!-/:-@\[-`{{-~”’…]*$")
_EMOJI_FIRST = re.compile(rf"[\s!-/:-@\[-`{{-~]*{_ONE_EMOJI}")
