from __future__ import annotations

import pytest

from app.retrain.exporters.msgpack import pack


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, "c0"),
        (False, "c2"),
        (True, "c3"),
        (0, "00"),
        (127, "7f"),
        (128, "cc80"),
        (255, "ccff"),
        (256, "cd0100"),
        (65536, "ce00010000"),
        (2**32, "cf0000000100000000"),
        (-1, "ff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-129, "d1ff7f"),
        (-(2**31), "d280000000"),
        (-(2**63), "d38000000000000000"),
        (1.5, "cb3ff8000000000000"),
        ("a", "a161"),
        ("ü" * 16, "d920" + "c3bc" * 16),
        (b"\x00", "c40100"),
        ([], "90"),
        ([1, [True]], "920191c3"),
        ((0,) * 16, "dc0010" + "00" * 16),
    ],
)
def test_values_have_their_shortest_form(value, data):
    assert pack(value).hex() == data


def test_long_things_carry_long_lengths():
    assert pack("x" * 300)[:3].hex() == "da012c"
    assert pack([0] * 70_000)[:5].hex() == "dd00011170"
    assert pack(b"x" * 70_000)[:5].hex() == "c600011170"


@pytest.mark.parametrize("value", [object(), {"a": 1}])
def test_what_has_no_form_is_refused(value):
    with pytest.raises(TypeError, match="has no form here"):
        pack(value)


def test_an_integer_beyond_64_bits_is_refused():
    with pytest.raises(OverflowError, match="more than 64 bits"):
        pack(2**64)
