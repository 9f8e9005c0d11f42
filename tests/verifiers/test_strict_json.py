from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers.strict_json import (
    MAX_CHARS,
    MAX_DEPTH,
    MAX_DIGITS,
    NotStrictJson,
    dump_canonical,
    parse_json,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":1,"a":2}', "duplicate_key"),
        ('[{"b":{"c":1,"c":1}}]', "duplicate_key"),
        ("NaN", "bad_constant"),
        ("[-Infinity]", "bad_constant"),
        ('"\\ud800"', "bad_unicode"),
        ('"\ud800"', "bad_unicode"),
        ("", "bad_json"),
        ("01", "bad_json"),
        ("'a'", "bad_json"),
        ("[1,]", "bad_json"),
        ("{} {}", "bad_json"),
        ('"a\nb"', "bad_json"),
        ("\ufeff1", "bad_json"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too_deep"),
        ('{"a":' * 5_000, "too_deep"),
        ("[" * 90_000, "too_deep"),
        ('"' + '\\"' * 40_000, "bad_json"),
        ("9" * (MAX_DIGITS + 1), "number_too_long"),
        ("1e999999999999999999999", "number_too_long"),
        ("-1e-5000", "number_too_long"),
        (" " * (MAX_CHARS + 1), "too_long"),
    ],
    ids=lambda value: ascii(value[:30]),
)
def test_what_lenient_parsers_let_through_is_refused_with_its_reason(text, reason):
    with pytest.raises(NotStrictJson) as refused:
        parse_json(text)

    assert refused.value.reason == reason


def test_brackets_inside_strings_are_not_nesting():
    text = json.dumps(["[" * 1_000, '\\"[{' * 100])

    assert parse_json(text) == json.loads(text)


def test_the_deepest_allowed_nesting_is_read():
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH

    assert dump_canonical(parse_json(text)) == text


def test_numbers_never_pass_through_a_double():
    value = parse_json("[9007199254740993, 0.1, 1e2]")

    assert value == [9007199254740993, Decimal("0.1"), Decimal("1e2")]
    assert dump_canonical(value) == "[9007199254740993,0.1,100]"


@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000"])
def test_one_number_has_one_spelling(spelling):
    assert dump_canonical(parse_json(spelling)) == "1"


@pytest.mark.parametrize("zero", ["0", "-0", "0.0", "-0.0", "0e5"])
def test_zero_has_no_sign(zero):
    assert dump_canonical(parse_json(zero)) == "0"


def test_true_is_not_one():
    assert dump_canonical(parse_json("[true,1,false,0,null]")) == "[true,1,false,0,null]"


@settings(deadline=None)
@given(VALUES)
def test_canonical_text_does_not_depend_on_order_or_spaces(value):
    spread = json.dumps(value, indent=2)
    tight = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    assert dump_canonical(parse_json(spread)) == dump_canonical(parse_json(tight))


@settings(deadline=None)
@given(VALUES)
def test_canonical_text_keeps_the_value(value):
    assert parse_json(dump_canonical(value)) == value


@settings(deadline=None)
@given(VALUES, VALUES)
def test_different_values_have_different_canonical_texts(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert (dump_canonical(one) == dump_canonical(other)) is same


@settings(deadline=None)
@given(st.text(alphabet='[]{}",:\\0123456789eE+-.truefalsn \ud800', max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        value = parse_json(text)
    except NotStrictJson:
        return

    assert value == json.loads(text, parse_float=Decimal)
