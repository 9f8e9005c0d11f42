"""A value is opened only where it was sealed, by who has the key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.seal import BadSeal, Seal

KEY = b"a key of sixteen or more bytes"


@given(st.binary(max_size=3_000))
def test_what_was_sealed_is_opened(value):
    assert Seal(KEY).open("name", Seal(KEY).close("name", value)) == value


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_changed_bit_breaks_the_seal(value, data):
    sealed = bytearray(Seal(KEY).close("name", value))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(BadSeal):
        Seal(KEY).open("name", bytes(sealed))


@pytest.mark.parametrize("forged", [b"", b"p", b"p{}", b"\0" * 33, b"\0" * 32 + b"z" + b"x" * 99])
def test_what_nobody_sealed_is_not_opened(forged):
    with pytest.raises(BadSeal):
        Seal(KEY).open("name", forged)


def test_a_value_is_worth_nothing_under_another_name_or_key():
    sealed = Seal(KEY).close("name", b"value")

    with pytest.raises(BadSeal):
        Seal(KEY).open("other", sealed)
    with pytest.raises(BadSeal):
        Seal(KEY + b"!").open("name", sealed)
    assert Seal(KEY).key_id != Seal(KEY + b"!").key_id


def test_values_are_packed_where_that_pays():
    text = b"verified and verified again, " * 100
    noise = bytes(range(256)) * 4

    assert len(Seal(KEY).close("name", text)) < len(text) / 4
    assert len(Seal(KEY).close("name", b"short")) == 32 + 1 + 5
    assert len(Seal(KEY).close("n", noise)) <= 32 + 1 + len(noise)
