"""Units by name: one name for every spelling. Conversion between them is in `conversion.py`."""

from __future__ import annotations

import re
from typing import Literal

PercentPolicy = Literal["drop", "ratio", "keep"]
"""What `15%` is: 15, 0.15, or a thing of its own."""
UnitPolicy = Literal["drop", "keep", "convert"]
"""Whether `18 cm` is 18, equal only to 18 with the same unit, or also equal to `0.18 m`."""

UNITS = {
    name: unit
    for unit, names in {
        "%": "% percent", "degree": "degree degrees deg °", "dollar": "dollar dollars $ usd",
        "cent": "cent cents ¢", "euro": "euro euros € eur", "pound": "£ gbp",
        "m": "meter meters metre metres", "cm": "cm centimeter centimeters centimetre centimetres",
        "mm": "mm millimeter millimeters", "km": "km kilometer kilometers kilometre kilometres",
        "in": "inch inches", "ft": "foot feet ft", "yd": "yard yards yd",
        "mi": "mile miles", "g": "gram grams", "kg": "kg kilogram kilograms",
        "lb": "pounds lb lbs", "s": "second seconds secs", "min": "minute minutes min mins",
        "h": "hour hours hr hrs", "day": "day days", "week": "week weeks",
        "month": "month months", "year": "year years", "mph": "mph", "km/h": "kph",
        "unit": "unit units", "sq": "square sq", "cu": "cubic cu",
    }.items()
    for name in names.split()
}  # fmt: skip
"""Spelling (folded) → unit. A word that is no unit here is still one inside `\\text{…}`."""


_POWER = re.compile(r"(?<=[A-Za-z])([23])$")
"""`cm3` is `cm^3`."""


def unit_name(words: str) -> str:
    """One name for every spelling of a unit; empty when there is none."""
    known = []
    for word in words.split():
        bare, caret, power = _POWER.sub(r"^\1", word).partition("^")
        known.append(UNITS.get(bare.casefold().rstrip("."), bare) + caret + power)
    return " ".join(known)
