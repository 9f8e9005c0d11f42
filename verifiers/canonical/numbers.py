"""Numbers: fractions of written digits, never doubles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from verifiers.canonical.cleaning import MAX_PHRASE_CHARS, NotCanonical, clean
from verifiers.canonical.conversion import is_unit, read_unit, to_base
from verifiers.canonical.units import PercentPolicy, UnitPolicy, unit_name

MAX_DIGITS = 1_000
"""Digits of one number, its exponent written out."""

Conversion = Callable[[Fraction, str], tuple[Fraction, str]]
"""A value and its unit as written → both in the base unit."""


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
    return read_quantity(phrase)[0]


def quantity_key(value: Fraction, unit: str) -> str:
    """Key of a number with the unit that a policy keeps: `18.25`, `15 %`, `0.18 m`."""
    return f"{number_key(value)} {unit}".rstrip()


def read_quantity(
    phrase: str,
    percent: PercentPolicy = "drop",
    units: UnitPolicy = "drop",
    *,
    convert: Conversion = to_base,
) -> tuple[Fraction, str]:
    """The one number of a short phrase, and its unit where the policy keeps it."""
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
    found = _numbers_of(text)
    if not found:
        raise NotCanonical("not_a_number")
    values = {_quantity_of(text, match, percent, units, convert) for match in found}
    if len(values) > 1:
        raise NotCanonical("ambiguous")
    value, unit = values.pop()
    currency = _CURRENCY.match(phrase) if units != "drop" and not unit else None
    return value, unit_name(currency[1]) if currency is not None else unit


def read_last_quantity(
    text: str, percent: PercentPolicy = "drop", units: UnitPolicy = "drop"
) -> tuple[Fraction, str]:
    """The last number in running text. Raises `NotCanonical`; an operand is not an answer.

    The word after it is its unit only when it is known as one: `18 are left` has none.
    """
    tail = _plain(unicodedata.normalize("NFKC", text[-MAX_PHRASE_CHARS:]).replace("−", "-"))
    numbers = _numbers_of(tail)
    if not numbers:
        raise NotCanonical("no_answer")
    last = numbers[-1]
    clean(tail[max(0, last.start() - 20) : last.end() + 20])
    if _OPERATOR_BEFORE.search(tail[max(0, last.start() - 20) : last.start()]):
        raise NotCanonical("unevaluated")
    value, unit = _quantity_of(tail, last, percent, units, to_base)
    return value, unit if is_unit(unit) else ""


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
_UNIT_AFTER = re.compile(r" {0,3}(%|°|[A-Za-z]+(?:/[A-Za-z]+)?(?:\^?[23])?)")
_NAME_BEFORE = re.compile(r"[A-Za-zμ]\^$")
_CURRENCY = re.compile(r"\s*-?\\?(€|£|\$(?![^$]*\$))")
_OPERATOR_BEFORE = re.compile(r"[0-9)\]%°][ \t]*(?:[+*×·÷/^x]|-)[ \t]*[$€£¥]?$")
_EXPLANATION = re.compile(
    r"\s+(?:because|since|as|so|which|where|when|if|but|for)\b|[.!?;](?:\s|$)|\n", re.IGNORECASE
)
_RELATION = re.compile(
    r"\b(?:not|never|least|most|more than|less than|fewer than|greater than|over|under|up to"
    r"|between|either)\b|n't\b|[<>≤≥±≠]",
    re.IGNORECASE,
)
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


def _plain(text: str) -> str:
    """Undo the LaTeX and Markdown around a number."""
    if not _MARKUP.search(text):
        return text
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    return text


def _numbers_of(text: str) -> list[re.Match[str]]:
    """Every number; the power of a name (`cm^3`) is none."""
    return [
        match
        for match in _NUMBER.finditer(text)
        if not _NAME_BEFORE.search(text[max(0, match.start() - 2) : match.start()])
    ]


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


def _quantity_of(
    text: str,
    match: re.Match[str],
    percent: PercentPolicy,
    units: UnitPolicy,
    convert: Conversion,
) -> tuple[Fraction, str]:
    value = _value_of(text, match)
    if percent == units == "drop":
        return value, ""
    after = text[match.end() :]
    magnitude = _MAGNITUDE.match(after)
    after = after[magnitude.end() :] if magnitude is not None else after
    told = _UNIT_AFTER.match(after)
    unit = unit_name(told[1]) if told is not None else ""
    if unit == "%":
        if percent == "ratio":
            return value / 100, ""
        return value, "%" if percent == "keep" else ""
    if units == "convert":
        return convert(value, read_unit(after))
    return value, unit if units == "keep" else ""


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
