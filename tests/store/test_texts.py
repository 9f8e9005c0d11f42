"""Texts that no database keeps are replaced visibly; all others stay untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.texts import (
    from_spool_json,
    map_texts,
    storable_text,
    to_spool_json,
    without_surrogates,
)
from tests.store.groups import make_group


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x00b", "a␀b"),
        ("\ud800", "\ufffd"),
        ("x\udc80\ud83dy", "x\ufffd\ufffdy"),
        ("\ud83d\ude00", "😀"),
        ("␀ é 😀 \x01\x7f", "␀ é 😀 \x01\x7f"),
    ],
)
def test_a_text_becomes_storable(text: str, expected: str) -> None:
    assert storable_text(text) == expected


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_becomes_storable(text: str) -> None:
    stored = storable_text(text)

    assert "\x00" not in stored.encode().decode()
    assert storable_text(stored) == stored


@given(st.binary())
def test_any_bytes_that_a_model_emits_become_storable(data: bytes) -> None:
    stored = storable_text(data.decode("utf-8", "surrogateescape"))

    assert b"\x00" not in stored.encode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_whole_text_stays_as_it_is(text: str) -> None:
    assert without_surrogates(text) == text


def test_an_escaped_backslash_before_u0000_is_not_a_nul() -> None:
    group = make_group(task={"messages": ({"role": "user", "content": "\\u0000"},)})

    assert from_spool_json(to_spool_json(group)) == group


def test_keys_are_texts_too() -> None:
    value: dict[str, Any] = {"a": ["b", ("c", None, 1, {"d": True})]}

    assert map_texts(value, str.upper) == {"A": ["B", ("C", None, 1, {"D": True})]}
    assert json.dumps(value) == '{"a": ["b", ["c", null, 1, {"d": true}]]}'
