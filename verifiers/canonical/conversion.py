"""Measures of one dimension in one unit, exactly: `18 cm` = `0.18 m`, `212 °F` = `373.15 K`.

Length, mass, time, volume and temperature, their powers and ratios. Every factor is exact by
definition. Units that mean several things are not converted and stay what they are called: pint,
gallon and ounce of fluid (US or imperial), ton, month, year, calorie.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from verifiers.canonical.units import UNITS, unit_name

Dimension = tuple[int, int, int, int]
"""Powers of metre, kilogram, second, kelvin."""
_BASES = ("m", "kg", "s", "K")
LENGTH, MASS, TIME, HEAT = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)
VOLUME = (3, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Scale:
    """How a unit lies to the base unit of its dimension: value · factor + offset."""

    dimension: Dimension
    factor: Fraction
    offset: Fraction = Fraction(0)
    """Not 0 for temperatures only; differences of them have none."""

    @property
    def base(self) -> str:
        """Name of the base unit: `m`, `m^3`, `m/s`."""
        paired = list(zip(_BASES, self.dimension, strict=True))
        over = "*".join(_raised(name, power) for name, power in paired if power > 0)
        under = "*".join(_raised(name, -power) for name, power in paired if power < 0)
        return f"{over or 1}/{under}" if under else over


@lru_cache(maxsize=512)
def find_scale(unit: str) -> Scale | None:
    """The scale of a unit as written or by name; None for one that is not converted."""
    parts = re.split(r"\s?/\s?|\sper\s", unit.strip())
    if len(parts) == 1:
        return _find_one(unit)
    over, under = _find_one(parts[0]), _find_one(parts[1])
    if len(parts) > 2 or over is None or under is None:
        return None
    if HEAT in (over.dimension, under.dimension):
        return None
    left, right = over.dimension, under.dimension
    dimension = (left[0] - right[0], left[1] - right[1], left[2] - right[2], 0)
    return Scale(dimension, over.factor / under.factor) if any(dimension) else None


def to_base(value: Fraction, unit: str) -> tuple[Fraction, str]:
    """The measure in its base unit; unchanged, but for the unit's name, where none is known."""
    scale = find_scale(unit)
    if scale is None:
        return value, unit_name(unit)
    return value * scale.factor + scale.offset, scale.base


def difference_to_base(value: Fraction, unit: str) -> tuple[Fraction, str]:
    """The same for the difference of two measures, in which offsets cancel."""
    scale = find_scale(unit)
    return (value, unit_name(unit)) if scale is None else (value * scale.factor, scale.base)


def is_unit(name: str) -> bool:
    """True for the name of a unit, converted or not; other words may follow a number too."""
    return name in UNITS.values() or find_scale(name) is not None


def read_unit(after: str) -> str:
    """The unit that stands right after a number, as written; empty when there is none."""
    told = _AFTER.match(after)
    return told[0].strip() if told is not None else ""


def _find_one(written: str) -> Scale | None:
    """Of one unit, perhaps with a power: `cm`, `cm^2`, `m3`, `square feet`."""
    told = _POWERED.fullmatch(written.strip())
    if told is None:
        return None
    power = {"sq": 2, "cu": 3}.get((told["prefix"] or "")[:2].casefold(), 1)
    if told["power"]:
        if power != 1:
            return None
        power = int(told["power"])
    word = told["word"].rstrip(".")
    scale = _SCALES.get(word) or _SCALES.get(unit_name(word)) or _WORDS.get(word.casefold())
    if scale is None or power == 1:
        return scale
    if scale.dimension not in (LENGTH, TIME):
        return None
    one, two, three, _ = (power * each for each in scale.dimension)
    return Scale((one, two, three, 0), scale.factor**power)


def _raised(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}"


def _all_of(dimension: Dimension, **factors: str) -> dict[str, Scale]:
    return {name: Scale(dimension, Fraction(factor)) for name, factor in factors.items()}


_SCALES = {
    **_all_of(LENGTH, m="1", km="1000", dm="1/10", cm="1/100", mm="1/1000", um="1/1000000"),
    **_all_of(LENGTH, nm="1/1000000000", ft="0.3048", yd="0.9144", mi="1609.344"),
    "in": Scale(LENGTH, Fraction("0.0254")),
    **_all_of(MASS, kg="1", g="1/1000", mg="1/1000000", ug="1/1000000000", t="1000"),
    **_all_of(MASS, lb="0.45359237", oz="0.028349523125", stone="6.35029318"),
    **_all_of(TIME, s="1", ms="1/1000", us="1/1000000", min="60", h="3600", d="86400"),
    **_all_of(TIME, day="86400", week="604800"),
    **_all_of(VOLUME, L="1/1000", l="1/1000", dL="1/10000", dl="1/10000", cL="1/100000"),
    **_all_of(VOLUME, cl="1/100000", mL="1/1000000", ml="1/1000000", cc="1/1000000"),
    "mph": Scale((1, 0, -1, 0), Fraction("0.44704")),
    "K": Scale(HEAT, Fraction(1)),
    "°C": Scale(HEAT, Fraction(1), Fraction("273.15")),
    "°F": Scale(HEAT, Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
}
"""By symbol, as it is written; `°` may be missing before C and F."""
_SCALES |= {"C": _SCALES["°C"], "F": _SCALES["°F"], "μm": _SCALES["um"], "μg": _SCALES["ug"]}
_SCALES |= {"μs": _SCALES["us"]}

_WORDS = {
    word: _SCALES[symbol]
    for symbol, words in {
        "dm": "decimeter decimeters decimetre decimetres",
        "mm": "millimetre millimetres",
        "km": "kilometer kilometers kilometre kilometres",
        "um": "micrometer micrometers micrometre micrometres micron microns",
        "nm": "nanometer nanometers nanometre nanometres",
        "kg": "kilogram kilograms kilogramme kilogrammes kilo kilos",
        "g": "gramme grammes",
        "mg": "milligram milligrams milligramme milligrammes",
        "ug": "microgram micrograms",
        "t": "tonne tonnes",
        "lb": "pound",
        "oz": "ounce ounces",
        "stone": "stones",
        "ms": "millisecond milliseconds",
        "us": "microsecond microseconds",
        "L": "liter liters litre litres",
        "dL": "deciliter deciliters decilitre decilitres",
        "cL": "centiliter centiliters centilitre centilitres",
        "mL": "milliliter milliliters millilitre millilitres",
        "K": "kelvin kelvins",
        "°C": "celsius",
        "°F": "fahrenheit",
    }.items()
    for word in words.split()
}
"""By word, in any case; those of `units.UNITS` are found by their name."""

_ONE = r"(?:(?:square|sq|cubic|cu)\.?\s)?[A-Za-zμ]+(?:\^?[23])?"
_AFTER = re.compile(
    r"\s{0,3}(?:(?:°\s?|degrees?\s|deg\s)(?:C|F|celsius|fahrenheit)(?![A-Za-z])|%|°"
    rf"|(?!in\b\s*[A-Za-z]){_ONE}(?:(?:\s?/\s?|\sper\s){_ONE})?)",
    re.IGNORECASE,
)
"""`5 in the box` names no unit."""
_POWERED = re.compile(
    r"(?:(?:degrees?|deg)\s|°\s?(?=\w))?(?:(?P<prefix>square|sq|cubic|cu)\.?\s)?"
    r"(?P<word>[A-Za-zμ]+)\.?(?:\^?(?P<power>[23]))?",
    re.IGNORECASE,
)
