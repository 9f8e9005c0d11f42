"""Personal data by shape and proof: e-mail, phone, card, social security number, IBAN.

A number alone is nothing: checksums, numbering plans, the usual grouping or a word beside it
decide. Names and addresses are not looked for; no rule finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import re2

from verifiers.kinds.constraint_checks.lists import listed
from verifiers.kinds.policy_checks.hits import Hit

MIN_PHONE, MIN_SOLID_PHONE, MAX_PHONE = 8, 10, 15
"""Digits of an international number; one without any separator is easily a plain number."""
CONTEXT_CHARS = 40
"""How far before a number a word may stand that says what it is."""


def find_emails(text: str) -> Iterator[Hit]:
    for found in _EMAIL.finditer(text):
        local, _, domain = found[0].rpartition("@")
        ending = domain.rpartition(".")[2].lower()
        git = local == "git" and text[found.end() : found.end() + 1] == ":"
        if ending not in _FILE_ENDINGS and not git:
            yield Hit("email", found[0])


def find_phones(text: str) -> Iterator[Hit]:
    for found in _INTERNATIONAL.finditer(text):
        digits = _digits(found[1])
        if text[max(0, found.start(1) - 3) : found.start(1)].rstrip(" -")[-1:].isdigit():
            continue  # the middle of a longer number in groups, such as an IBAN
        solid = found[1][1:].isdigit()
        if (MIN_SOLID_PHONE if solid else MIN_PHONE) <= len(digits) <= MAX_PHONE:
            yield Hit("phone", found[1])
    for found in _NORTH_AMERICAN.finditer(text):
        yield Hit("phone", found[1])
    for found in _NUMBER.finditer(text):
        digits = _digits(found[0])
        if 7 <= len(digits) <= MAX_PHONE and _PHONE_WORD.search(_before(text, found.start())):
            yield Hit("phone", found[0])


def find_cards(text: str) -> Iterator[Hit]:
    for found in _NUMBER.finditer(text):
        groups = _groups(found[0])
        for digits in _card_candidates(groups):
            known = _is_issued(digits)
            named = _CARD_WORD.search(_before(text, found.start())) is not None
            if _luhn(digits) and (known or named) and not _inside_word(text, found):
                yield Hit("card", digits)


def find_ssns(text: str) -> Iterator[Hit]:
    for found in _SSN.finditer(text):
        area, group, serial = found[1], found[2], found[3]
        if _is_ssn(area, group, serial):
            yield Hit("ssn", "-".join((area, group, serial)))
    for found in _NUMBER.finditer(text):
        digits = _digits(found[0])
        named = _SSN_WORD.search(_before(text, found.start()))
        if len(digits) == 9 and named and _is_ssn(digits[:3], digits[3:5], digits[5:]):
            yield Hit("ssn", digits)


def find_ibans(text: str) -> Iterator[Hit]:
    upper = text.upper()
    for found in _IBAN_START.finditer(upper):
        length = _IBAN_LENGTHS.get(found[1][:2], 0)
        after = upper[found.start(1) : found.start(1) + 2 * length]
        compact = "".join(char for char in after if char.isascii() and char.isalnum())
        if 0 < length <= len(compact) and _mod_97(compact[:length]) == 1:
            yield Hit("iban", compact[:length])


def _digits(text: str) -> str:
    return "".join(char for char in text if char in "0123456789")


def _groups(run: str) -> list[str]:
    return "".join(char if char in "0123456789" else " " for char in run).split()


def _before(text: str, at: int) -> str:
    return text[max(0, at - CONTEXT_CHARS) : at]


def _card_candidates(groups: list[str]) -> Iterable[str]:
    """Solid numbers, groups of four as on a card, and single digits in a row."""
    for index, group in enumerate(groups):
        if 13 <= len(group) <= 19:
            yield group
        for shape in _CARD_SHAPES:
            part = groups[index : index + len(shape)]
            if tuple(map(len, part)) == shape:
                yield "".join(part)
    if len(groups) >= 13 and all(len(group) == 1 for group in groups):
        for size in range(13, min(19, len(groups)) + 1):
            for start in range(min(len(groups) - size, 20) + 1):
                yield "".join(groups[start : start + size])


def _inside_word(text: str, found: Any) -> bool:
    """Whether the digits are part of a longer code such as a hash, where anything passes Luhn."""
    start, end = found.span()
    left, right = text[max(0, start - 8) : start], text[end : end + 8]
    glued_left = left[-1:].isalnum() and any(char.isdigit() for char in left.split()[-1])
    glued_right = right[:1].isalnum() and any(char.isdigit() for char in right.split()[0])
    return glued_left or glued_right


def _is_issued(digits: str) -> bool:
    """Whether a card scheme gives out numbers with this beginning and length."""
    size = len(digits)
    return any(
        size in sizes and low <= digits[: len(low)] <= high for low, high, sizes in _CARD_RANGES
    )


def _luhn(digits: str) -> bool:
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = int(char) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0 and len(set(digits)) > 1


def _is_ssn(area: str, group: str, serial: str) -> bool:
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def _mod_97(iban: str) -> int:
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97


_EMAIL = re2.compile(
    r"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"[A-Za-z]{2,24}\b"
)
_FILE_ENDINGS = frozenset(
    listed("png jpg jpeg gif svg webp js mjs ts css html py json md txt yaml yml toml lock")
)
_INTERNATIONAL = re2.compile(
    r"(?:^|[^0-9A-Za-z+.])"
    r"((?:\+[1-9][0-9]{0,2}|00[1-9][0-9]{0,2}[ ./-])(?:[ .()/-]{0,3}[0-9]){6,13}"
    r"|\+ [1-9](?: {1,3}[0-9]){7,14})\b"
)
_NORTH_AMERICAN = re2.compile(
    r"(?:^|[^0-9A-Za-z.+-])((?:1[ .-])?(?:\([2-9][0-9]{2}\) {0,3}[2-9][0-9]{2}[ .-]"
    r"|[2-9][0-9]{2}-[2-9][0-9]{2}-|[2-9][0-9]{2}\.[2-9][0-9]{2}\.|[2-9][0-9]{2} [2-9][0-9]{2}-)"
    r"[0-9]{4})(?:$|[^0-9A-Za-z-])"
)
_NUMBER = re2.compile(r"[0-9](?:[ .()/-]{0,3}[0-9])*")
_PHONE_WORD = re2.compile(
    r"(?i)\b(?:phone|telephone|tel|call|mobile|cell|cellphone|fax|whatsapp|sms|text)\b[^0-9\n]{0,20}$"
)
_CARD_WORD = re2.compile(
    r"(?i)\b(?:card|visa|mastercard|amex|credit|debit|maestro|discover|pan|cc)\b[^0-9\n]{0,30}$"
)
_SSN = re2.compile(r"(?:^|[^0-9A-Za-z-])([0-9]{3})-([0-9]{2})-([0-9]{4})(?:$|[^0-9A-Za-z-])")
_SSN_WORD = re2.compile(r"(?i)\b(?:ssn|social security(?: number| no\.?)?)\b[^0-9\n]{0,20}$")
_IBAN_START = re2.compile(r"(?:^|[^0-9A-Z])([A-Z]{2}[0-9]{2})")

_CARD_SHAPES = (
    (4, 4, 4, 4), (4, 4, 4, 4, 1), (4, 4, 4, 4, 2), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4),
)  # fmt: skip
_CARD_RANGES: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("2221", "2720", frozenset((16,))),
    ("300", "305", frozenset((14,))),
    ("34", "34", frozenset((15,))),
    ("3528", "3589", frozenset((16,))),
    ("36", "36", frozenset((14,))),
    ("37", "37", frozenset((15,))),
    ("38", "39", frozenset((14,))),
    ("4", "4", frozenset((16,))),
    ("51", "55", frozenset((16,))),
    ("6011", "6011", frozenset((16,))),
    ("62", "62", frozenset((16,))),
    ("644", "649", frozenset((16,))),
    ("65", "65", frozenset((16,))),
)
"""First digits, from and to, and lengths of the large schemes; others need a word beside them."""
_IBAN_LENGTHS = {
    pair[:2]: int(pair[2:])
    for pair in listed(
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28"
        " EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26"
        " IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30"
        " NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23"
        " TN24 TR26 UA29 VA22 VG24 XK20"
    )
}
