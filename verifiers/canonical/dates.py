"""Calendar dates: `2024-03-05` for every spelling that names one day.

`03/05/2024` names two days, so it needs a policy unless one of the numbers is over 12. Two-digit
years are not read.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from verifiers.canonical.cleaning import NotCanonical, clean

DayOrder = Literal["", "dmy", "mdy"]
"""How `03/05/2024` is read; empty: not at all."""


def date_key(phrase: str, order: DayOrder = "") -> str:
    """Key of the one date in a short phrase. Raises `NotCanonical`."""
    if len(phrase) > _MAX_CHARS:
        raise NotCanonical("too_long")
    text = clean(phrase)
    found = {_day(match, order) for match in _DATE.finditer(text)}
    if not found:
        raise NotCanonical("not_a_date")
    if len(found) > 1:
        raise NotCanonical("ambiguous")
    return found.pop().isoformat()


def _day(match: re.Match[str], order: DayOrder) -> date:
    named = match.groupdict()
    year = int(named["y1"] or named["y2"] or named["y3"] or named["y4"])
    if named["m1"]:
        month, day = int(named["m1"]), int(named["d1"])
    elif named["month2"] or named["month3"]:
        month = _MONTHS[(named["month2"] or named["month3"])[:3].casefold()]
        day = int(named["d2"] or named["d3"])
    else:
        month, day = _ordered(int(named["first"]), int(named["second"]), order)
    try:
        return date(year, month, day)
    except ValueError:
        raise NotCanonical("not_a_date") from None


def _ordered(first: int, second: int, order: DayOrder) -> tuple[int, int]:
    """Month and day of two numbers."""
    if first == second:
        return first, second
    if first > 12 or (second <= 12 and order == "dmy"):
        return second, first
    if second > 12 or order == "mdy":
        return first, second
    raise NotCanonical("ambiguous")


_MAX_CHARS = 200
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_MONTH = (
    r"(?P<month{0}>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE = re.compile(
    r"(?<![0-9/.-])(?:"
    r"(?P<y1>[0-9]{4})(?P<s1>[-/.])(?P<m1>[0-9]{1,2})(?P=s1)(?P<d1>[0-9]{1,2})"
    rf"|(?P<d2>[0-9]{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH.format(2)},? (?P<y2>[0-9]{{4}})"
    rf"|{_MONTH.format(3)} (?P<d3>[0-9]{{1,2}})(?:st|nd|rd|th)?,? (?P<y3>[0-9]{{4}})"
    r"|(?P<first>[0-9]{1,2})(?P<s4>[-/.])(?P<second>[0-9]{1,2})(?P=s4)(?P<y4>[0-9]{4})"
    r")(?![0-9/-])",
    re.IGNORECASE,
)
