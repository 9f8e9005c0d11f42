"""Text → tokens: LaTeX, plain spellings and Unicode signs become one alphabet."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verifiers.algebra.limits import Limits, NotMath, refuse_bombs
from verifiers.algebra.vocabulary import SAME, SAME_MARKS, SIGNS
from verifiers.canonical.cleaning import NotCanonical, clean


def translate(text: str) -> str:
    """The text in ASCII LaTeX; superscripts before NFKC would make `x²` an `x2`."""
    if not text.isascii():
        text = _SUPERSCRIPT.sub(lambda run: f"^{{{run[0].translate(_RAISED)}}}", text)
        text = _ROOT.sub(r"\\sqrt{\1}", text)
        text = "".join(SIGNS.get(char, char) for char in text)
    text = clean(text).replace("⁄", "/").strip().rstrip(".").strip()
    for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        inside = text[len(left) : -len(right)]
        if text.startswith(left) and text.endswith(right) and len(text) > len(left + right):
            if left[0] == "$" and "$" in inside.replace("\\$", ""):
                continue
            text = inside.strip().rstrip(".")
    return text


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    spaced: bool
    """White space stood before it."""


def read_tokens(text: str, limits: Limits) -> list[Token]:
    """The tokens of a whole answer, refused by its size and nesting before."""
    if len(text) > limits.chars:
        raise NotMath("too_complex")
    text = translate(text)
    refuse_bombs(text, limits)
    found, at, spaced, depth = [], 0, False, 0
    while at < len(text):
        match = (_TOKEN_INSIDE if depth else _TOKEN).match(text, at)
        if match is None:
            _refuse_look_alike(text, at)
            raise NotMath("unparsable")
        at, kind, raw = match.end(), match.lastgroup or "", match[0]
        if kind == "space":
            spaced = True
            continue
        if kind == "mark":
            depth = max(0, depth + (raw in ("(", "[", "\\{")) - (raw in (")", "]", "\\}")))
        name = _plain_name(kind, raw, match)
        if kind == "letters":
            kind = "word"
        elif kind == "text" and _WRITTEN.fullmatch(name):
            kind = "number"
        found.append(Token(kind, name, spaced))
        spaced = False
    return found


def _refuse_look_alike(text: str, at: int) -> None:
    """A lone letter of another script (`а` for `a`) is no symbol; a word of it may be honest."""
    beside = text[max(0, at - 1) : at] + text[at + 1 : at + 2]
    if text[at].isalpha() and not any(char.isalpha() and not char.isascii() for char in beside):
        raise NotCanonical("mixed_scripts")


def _plain_name(kind: str, raw: str, match: re.Match[str]) -> str:
    if kind == "command":
        name = raw[1:]
        return SAME.get(name, name)
    if kind == "text":
        return match["inside"].strip()
    if kind == "word":
        return match["word"] or raw
    if kind == "environment":
        return re.sub(r"\s", "", raw)
    return SAME_MARKS.get(raw, raw)


_ROOT = re.compile(r"√\s?([0-9]+(?:\.[0-9]+)?|[A-Za-z])")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_WRITTEN = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:\.[0-9]+)?")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_GROUP = r"(?:\{{,\}}|,\\!\s*|\\,{comma})"
_TOKENS = (
    r"(?P<space>(?:\s|~|\\[,;:!> ]|\\q?quad(?![A-Za-z])"
    r"|\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits)(?![A-Za-z])\.?)+)"
    r"|(?P<number>[0-9]*\.[0-9]*\\overline\{{[0-9]+\}}"
    r"|[0-9]{{1,3}}(?:{group}[0-9]{{3}})+(?![0-9])(?:\.[0-9]+)?"
    r"|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]{{1,3}}(?![A-Za-z0-9]))?)"
    r"|\\(?:text|mbox|textbf|textit|textrm|textnormal)\s*\{{(?P<text>(?P<inside>[^{{}}\\$]*))\}}"
    r"|\\(?:mathrm|mathbf|mathit|operatorname)\s*\{{(?P<word>[A-Za-z]+)\}}"
    r"|(?P<environment>\\(?:begin|end)\s*\{{[pb]?matrix\}})"
    r"|(?P<command>\\[A-Za-z]+)"
    r"|(?P<mark>\\[{{}}%$|\\]|<=|>=|!=|\*\*|[-+*/^_=<>,;!|&%()\[\]$°])"
    r"|(?P<brace>[{{}}])"
    r"|(?P<letters>[A-Za-z]+)"
)
_TOKEN = re.compile(_TOKENS.format(group=_GROUP.format(comma="|,")))
_TOKEN_INSIDE = re.compile(_TOKENS.format(group=_GROUP.format(comma="")))
