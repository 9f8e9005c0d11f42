"""Canonical answers: what a model wrote → the vote key.

Two answers are one vote exactly when their keys are equal, so every key is exact: numbers are
fractions of written digits, JSON never passes through a double. House rules, stated because
public graders contradict each other:

- `1,234` = `1234` = `1234.0` = `1.234e3`; a comma is never a decimal mark (`1,5` is no number).
- A percent sign, a currency and a trailing unit are dropped: `15%` = `15`, `$18` = `18 dollars`.
- `3/4` = `0.75`, `1 3/4` = `1.75`; a division that comes out even (`10/5`) is work left undone.
- `thousand`, `million`, `billion`, `trillion`, `dozen` multiply; other number words are not read.
- Short text: NFKC, case folded, outer punctuation, quotes and leading articles dropped.

Hidden characters and words of mixed scripts are refused, not repaired.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from verifiers.base import ToolCall
from verifiers.strict_json import NotStrictJson, dump_canonical, parse_json

MAX_DIGITS = 1_000
"""Digits of one number, its exponent written out."""
MAX_PHRASE_CHARS = 4_000
MAX_KEY_CHARS = 512
"""A longer key is its beginning and a hash of the whole."""


class NotCanonical(ValueError):
    """This text has no canonical form of the wanted kind."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """Short code: `not_a_number`, `ambiguous`, `hidden_characters`, `mixed_scripts`, …"""


def clean(text: str) -> str:
    """NFKC text. Raises `NotCanonical` on invisible characters and mixed scripts in a word."""
    if _CONTROL.search(text):
        raise NotCanonical("hidden_characters")
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text).replace("−", "-")
    previous = ""
    for char in text:
        category = unicodedata.category(char)
        joins = char in "\u200c\u200d" and previous and not previous.isascii()
        if (category == "Cf" and not joins) or category == "Cs":
            raise NotCanonical("hidden_characters")
        previous = char
    for word in _WORD.findall(text):
        if len(_scripts(word)) > 1:
            raise NotCanonical("mixed_scripts")
    return text


def number_key(value: Fraction) -> str:
    """How a number is written as a key: `42`, `18.25`, `3/4`, `-2/3`.

    Integers as digits, proper fractions with a one-digit denominator as n/d, other terminating
    values as decimals, the rest as n/d.
    """
    if value.denominator == 1:
        return str(value.numerator)
    places = _decimal_places(value.denominator)
    if places is None or places > MAX_DIGITS or (abs(value) < 1 and value.denominator < 10):
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def read_number(phrase: str) -> Fraction:
    """The one number that a short phrase commits to. Raises `NotCanonical`."""
    if len(phrase) > MAX_PHRASE_CHARS:
        raise NotCanonical("too_long")
    text = _plain(clean(phrase)).strip()
    text = _EXPLANATION.split(text, maxsplit=1)[0]
    if _RELATION.search(text):
        raise NotCanonical("not_one_value")
    if "\\" in text:
        raise NotCanonical("symbol")
    for sign in ("=", "≈"):
        text = text.rpartition(sign)[2]
    if text.startswith("(") and text.rstrip(" .").endswith(")"):
        text = text.strip(" .()")
    text = text.split(" (", maxsplit=1)[0]
    found = list(_NUMBER.finditer(text))
    if not found:
        raise NotCanonical("not_a_number")
    values = {_value_of(text, match) for match in found}
    if len(values) > 1:
        raise NotCanonical("ambiguous")
    return values.pop()


def read_last_number(text: str) -> Fraction:
    """The last number in running text. Raises `NotCanonical`; an operand is not an answer."""
    tail = _plain(unicodedata.normalize("NFKC", text[-MAX_PHRASE_CHARS:]).replace("−", "-"))
    numbers = list(_NUMBER.finditer(tail))
    if not numbers:
        raise NotCanonical("no_answer")
    last = numbers[-1]
    clean(tail[max(0, last.start() - 20) : last.end() + 20])
    if _OPERATOR_BEFORE.search(tail[max(0, last.start() - 20) : last.start()]):
        raise NotCanonical("unevaluated")
    return _value_of(tail, last)


def choice_key(label: str, choices: Sequence[str]) -> str:
    """The allowed label that is meant. Raises `NotCanonical`."""
    wanted = clean(label).strip(" \t\n.:*_`'\"").casefold().strip("()[] ")
    for choice in choices:
        if choice.casefold() == wanted:
            return choice
    raise NotCanonical("not_a_choice")


def text_key(text: str) -> str:
    """Key of a short text. Raises `NotCanonical` when nothing is left of it."""
    if len(text) > MAX_PHRASE_CHARS:
        raise NotCanonical("too_long")
    key, before = clean(text), None
    while key != before:
        before = key
        key = unicodedata.normalize("NFKC", key.casefold())
        key = _BULLETS.sub("", " ".join(key.split())).rstrip(".,;:!? ")
        key = _ARTICLE.sub("", _unwrap(key))
    if not key:
        raise NotCanonical("no_answer")
    return shorten_key(key)


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


def shorten_key(key: str) -> str:
    """The key itself, or its beginning with a hash of all of it."""
    if len(key) <= MAX_KEY_CHARS:
        return key
    return f"{key[:80]}…#{hashlib.sha256(key.encode()).hexdigest()[:32]}"


MAX_ARGUMENT_CHARS = 100_000

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_CONFUSABLE = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_UNIT_GREEK = "μΩΔπ"

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?!,[0-9])|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_])(?:"
    rf"(?P<mantissa>{_DECIMAL}) ?[x×*] ?10 ?\^ ?(?P<power>[-+]?[0-9]{{1,5}})"
    r"|(?P<whole>[0-9]+) (?P<over>[0-9]+)/(?P<under>[0-9]+)(?![0-9.,/])"
    r"|(?P<top>[0-9]+) ?/ ?(?P<bottom>[0-9]+)(?![0-9]|[.,/][0-9])"
    rf"|(?P<plain>{_DECIMAL})(?:[eE](?P<exponent>[-+]?[0-9]{{1,5}}))?(?![0-9])"
    r")"
)
_MAGNITUDE = re.compile(r" ?(hundred|thousand|million|billion|trillion|dozen)\b", re.IGNORECASE)
_MAGNITUDES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
_SYMBOL_AFTER = re.compile(
    r"(?:(?![mgslLhCFVW])[A-Za-z]| [knpqrtuvwxyzij]| ?(?:pi|π|sqrt|√))(?![A-Za-z])|[\^√}]"
)
_OPERATOR_BEFORE = re.compile(r"[0-9)\]%°][ \t]*(?:[+*×·÷/^x]|-)[ \t]*[$€£¥]?$")
_EXPLANATION = re.compile(
    r"\s+(?:because|since|as|so|which|where|when|if|but|for)\b|[.!?;](?:\s|$)|\n", re.IGNORECASE
)
_RELATION = re.compile(
    r"\b(?:not|never|least|most|more than|less than|fewer than|greater than|over|under|up to"
    r"|between|either)\b|n't\b|[<>≤≥±≠]",
    re.IGNORECASE,
)
_BULLETS = re.compile(r"^(?:[-*#>•]+ )+")
_WRAPPERS = (
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("‘", "’"),
    ("«", "»"),
    ("(", ")"),
    ("[", "]"),
    ("*", "*"),
    ("_", "_"),
    ("`", "`"),
)
_ARTICLE = re.compile(r"^(?:the|an|a) (?=\S)")
_MARKUP = re.compile(r"[\\*$`_<{]")
_LATEX = (
    (re.compile(r"<<[^<>]*>>"), ""),
    (re.compile(r"\\[dt]?frac\s?\{\s?(-?[0-9]+)\s?\}\s?\{\s?([0-9]+)\s?\}"), r" \1/\2 "),
    (re.compile(r"\\[dt]?frac\s?([0-9])\s?([0-9])(?![0-9])"), r" \1/\2 "),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|boxed)\s?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\(?:left|right|displaystyle|[,;!: ()\[\]])"), ""),
    (re.compile(r"\\times"), "×"),
    (re.compile(r"\\cdot"), "*"),
    (re.compile(r"\^\{?\\circ\}?"), "°"),
    (re.compile(r"\^\{(-?[0-9]+)\}"), r"^\1"),
    (re.compile(r"\\([%$€£#])"), r"\1"),
    (re.compile(r"(?<![0-9)])\*\*|\*\*(?![0-9(])|__|`"), ""),
    (re.compile(r"(?<=[0-9%°])\$|\$(?=[\s(+.0-9-])"), ""),
    (re.compile(r"- +(?=[0-9]+/[0-9]+ )"), "-"),
)


def _scripts(word: str) -> set[str]:
    if word[0] in _UNIT_GREEK:
        word = word[1:]
    names = {unicodedata.name(char, "").split(" ", 1)[0] for char in word}
    return names & set(_CONFUSABLE)


def _unwrap(text: str) -> str:
    for left, right in _WRAPPERS:
        if len(text) > 2 and text.startswith(left) and text.endswith(right):
            return text[1:-1].strip()
    return text


def _plain(text: str) -> str:
    """Undo the LaTeX and Markdown around a number."""
    if not _MARKUP.search(text):
        return text
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    return text


def _value_of(text: str, match: re.Match[str]) -> Fraction:
    """Signed value of one number in a text."""
    before, after = text[: match.start()], text[match.end() :]
    if before.endswith(("{", "√")):
        raise NotCanonical("symbol")
    magnitude = _MAGNITUDE.match(after)
    if magnitude is None and _SYMBOL_AFTER.match(after):
        raise NotCanonical("symbol")
    value = _unsigned(match)
    if magnitude is not None:
        value *= _MAGNITUDES[magnitude[1].lower()]
    return -value if _ends_in_sign(before.rstrip("$€£¥")) else value


def _ends_in_sign(before: str) -> bool:
    """True when a minus right before a number is its sign, not a subtraction or a range."""
    if not before.endswith("-"):
        return False
    left = before[:-1].rstrip()
    if not left:
        return True
    joined = left == before[:-1]
    return left[-1] not in ")]%°" and not (left[-1].isalnum() if joined else left[-1].isdigit())


def _unsigned(match: re.Match[str]) -> Fraction:
    group = match.groupdict()
    if group["top"] is not None:
        return _ratio(group["top"], group["bottom"])
    if group["whole"] is not None:
        return _decimal(group["whole"], 0) + _ratio(group["over"], group["under"])
    if group["mantissa"] is not None:
        return _decimal(group["mantissa"], int(group["power"]))
    return _decimal(group["plain"], int(group["exponent"] or 0))


def _decimal(digits: str, exponent: int) -> Fraction:
    if len(digits) + abs(exponent) > MAX_DIGITS:
        raise NotCanonical("too_long")
    return Fraction(digits.replace(",", "")) * Fraction(10) ** exponent


def _ratio(top: str, bottom: str) -> Fraction:
    if max(len(top), len(bottom)) > MAX_DIGITS:
        raise NotCanonical("too_long")
    over, under = int(top), int(bottom)
    if under == 0:
        raise NotCanonical("not_a_number")
    if over % under == 0:
        raise NotCanonical("unevaluated")
    return Fraction(over, under)


def _decimal_places(denominator: int) -> int | None:
    """Decimal places of a terminating fraction, None for a repeating one."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None
