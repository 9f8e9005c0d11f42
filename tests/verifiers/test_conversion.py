"""Units that are converted: exactly, and only where a unit means one thing."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.base import BadCheck, Check, get_verifier
from verifiers.canonical.conversion import (
    _SCALES,
    _WORDS,
    difference_to_base,
    find_scale,
    is_unit,
    to_base,
)
from verifiers.canonical.numbers import read_quantity

VALUES = st.fractions(max_denominator=10**6)


@given(VALUES, st.sampled_from(sorted(_SCALES)))
def test_a_conversion_loses_nothing(value, unit):
    scale = _SCALES[unit]

    converted, base = to_base(value, unit)

    assert (converted - scale.offset) / scale.factor == value
    assert to_base(converted, base) == (converted, base)


@pytest.mark.parametrize("word", sorted(_WORDS))
def test_every_word_is_read_as_its_unit(word):
    value, base = read_quantity(f"7 {word.capitalize()}", units="convert")

    assert (value, base) == to_base(Fraction(7), word)
    assert is_unit(base)


@pytest.mark.parametrize(
    ("unit", "base"),
    [
        ("km/h", "m/s"),
        ("m/s^2", "m/s^2"),
        ("kg/m^3", "kg/m^3"),
        ("cubic feet", "m^3"),
        ("cm2", "m^2"),
        ("1/s", None),
        ("m/km", None),
        ("apples", None),
        ("gallon", None),
        ("pint", None),
        ("ton", None),
        ("month", None),
        ("kg^2", None),
        ("square m^2", None),
        ("°C/s", None),
        ("m/s/s", None),
        ("", None),
    ],
)
def test_powers_and_ratios_have_a_base_and_what_means_several_things_has_none(unit, base):
    scale = find_scale(unit)

    assert (scale and scale.base) == base


def test_the_difference_of_two_temperatures_has_no_offset():
    assert difference_to_base(Fraction(9), "°F") == (5, "K")


@pytest.mark.parametrize(
    ("use", "options", "param"),
    [
        ("number", {"reference": "18"}, "reference"),
        ("number", {"reference": 18}, "reference"),
        ("math", {"reference": "18"}, "reference"),
        ("math", {"reference": "3, 4 \\text{ cm}"}, "reference"),
        ("number", {"reference": "18 cm", "tolerance": 1}, "tolerance"),
        ("number", {"reference": "18 cm", "tolerance": "1 kg"}, "tolerance"),
        ("number", {"reference": "18 cm", "tolerance": "-1 cm"}, "tolerance"),
    ],
)
def test_what_is_to_be_converted_has_a_unit(use, options, param):
    with pytest.raises(BadCheck) as refused:
        get_verifier(use).prepare({**options, "units": "convert"}, Check())

    assert refused.value.param == param
