from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from verifiers.base import ToolCall
from verifiers.canonical import (
    MAX_DIGITS,
    MAX_KEY_CHARS,
    NotCanonical,
    calls_key,
    choice_key,
    json_key,
    number_key,
    read_last_quantity,
    read_number,
    text_key,
)


def key(phrase: str) -> str:
    return number_key(read_number(phrase))


@pytest.mark.parametrize(
    ("wanted", "spellings"),
    [
        ("1234", ["1,234", "1234", "1234.0", "1.234e3", "1.234E+3", "$1,234", "1,234.00 euros"]),
        ("1234", ["1{,}234", "1\\,234", "$1234$", "\\(1234\\)", "**1234**", "`1234`", "x = 1234"]),
        ("3/4", ["3/4", "0.75", ".75", "6/8", "\\frac{3}{4}", "\\dfrac34", "$\\tfrac{3}{4}$"]),
        ("1.75", ["1 3/4", "1\\frac{3}{4}", "1.75", "1.750 cups"]),
        ("15", ["15%", "15 percent", "15\\%", "15", "15.0 %"]),
        ("18", ["18", "$18", "\\$18", "18 dollars", "€18", "18€", "\\text{18 dollars}", "18km"]),
        ("-5", ["-5", "−5", "-$5", "$-5", "-5.0", "x = -5", "(-5)"]),
        ("-2/3", ["-2/3", "-\\frac{2}{3}", "\\frac{-2}{3}", "−4/6"]),
        ("1500000", ["1.5 million", "1,500,000", "1500 thousand", "1.5 × 10^6"]),
        ("24", ["2 dozen", "24", "24!", "about 24", "7 + 17 = 24", "24 (7 + 17)"]),
    ],
)
def test_one_number_in_any_spelling_is_one_vote(wanted, spellings):
    assert {spelling: key(spelling) for spelling in spellings} == dict.fromkeys(spellings, wanted)


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("none", "not_a_number"),
        ("twelve", "not_a_number"),
        ("٣", "not_a_number"),
        ("3/0", "not_a_number"),
        ("3, 4", "ambiguous"),
        ("(3, 4)", "ambiguous"),
        ("3 or 4", "ambiguous"),
        ("3-5", "ambiguous"),
        ("7 + 5", "ambiguous"),
        ("2**3", "ambiguous"),
        ("1,5", "ambiguous"),
        ("12,34", "ambiguous"),
        ("2.5.1", "ambiguous"),
        ("12:30", "ambiguous"),
        ("10/5", "unevaluated"),
        ("3k", "symbol"),
        ("3 k", "symbol"),
        ("2\\pi", "symbol"),
        ("2 pi", "symbol"),
        ("3i", "symbol"),
        ("\\sqrt{2}", "symbol"),
        ("10^2", "symbol"),
        ("not 12", "not_one_value"),
        ("at least 5", "not_one_value"),
        ("> 5", "not_one_value"),
        ("5 ± 1", "not_one_value"),
        ("12\u200b3", "hidden_characters"),
        ("\u202e21", "hidden_characters"),
        ("4\x002", "hidden_characters"),
        ("12 dоllars", "mixed_scripts"),
        ("9" * (MAX_DIGITS + 1), "too_long"),
        ("1e99999", "too_long"),
        ("1" * 5_000, "too_long"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_what_is_not_one_plain_number_has_no_key(phrase, reason):
    with pytest.raises(NotCanonical) as refused:
        read_number(phrase)

    assert refused.value.reason == reason


@settings(deadline=None)
@given(st.integers())
def test_integers_of_any_size_are_exact(number):
    assert key(f"{number:,}") == key(str(number)) == key(f"{number}.0") == str(number)


@settings(deadline=None)
@given(st.integers(), st.integers())
def test_different_integers_are_different_votes(one, other):
    assert (key(str(one)) == key(str(other))) is (one == other)


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9))
def test_a_decimal_keeps_its_exact_value(number):
    assume(abs(number.adjusted()) < 300)

    assert read_number(format(number, "f")) == Fraction(number)


@settings(deadline=None)
@given(st.fractions())
def test_a_key_is_read_back_as_the_same_number(number):
    assume(number.denominator > 1)

    assert Fraction(number_key(number)) == number
    assert key(number_key(number)) == number_key(number)


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.integers(0, 20))
def test_trailing_zeros_and_exponents_do_not_matter(number, shift):
    moved = f"{format(number, 'f')}e{shift}"

    assert read_number(moved) == Fraction(number) * 10**shift
    assert read_number(format(number, "f") + "0" * shift) == Fraction(Decimal(number))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("7 + 5 = 12.", "12"),
        ("16 - 3 = <<16-3=13>>13 left", "13"),
        ("from 7 to -3", "-3"),
        ("The total is $\\frac{3}{4}$", "3/4"),
        ("It costs $4.50!", "4.5"),
    ],
)
def test_the_last_number_of_running_text(text, wanted):
    assert number_key(read_last_quantity(text)[0]) == wanted


@pytest.mark.parametrize("text", ["0 + 4", "1 * 7", "15 - 3", "7-5", "(3+4) × 2", "8 ÷ 2"])
def test_an_operand_is_not_an_answer(text):
    with pytest.raises(NotCanonical, match="unevaluated"):
        read_last_quantity(text)


@pytest.mark.parametrize(
    "spelling", ["Canberra", "canberra.", " **Canberra** ", "“Canberra”", "Ｃanberra", "- Canberra"]
)
def test_one_short_text_in_any_spelling_is_one_vote(spelling):
    assert text_key(spelling) == "canberra"


@pytest.mark.parametrize(
    ("one", "other"), [("C#", "C"), ("-5", "5"), ("A*", "A"), ("São", "Sao"), ("f(x)", "f x")]
)
def test_marks_that_belong_to_a_text_stay(one, other):
    assert text_key(one) != text_key(other)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("сanberra", "mixed_scripts"),
        ("pαypal", "mixed_scripts"),
        ("can\u202eberra", "hidden_characters"),
        ("can\u2066berra", "hidden_characters"),
        ("can\u00adberra", "hidden_characters"),
        ("canb\u200derra", "hidden_characters"),
        ("canberra\U000e0041", "hidden_characters"),
        ("\ud800", "hidden_characters"),
        ("...", "no_answer"),
        ("", "no_answer"),
    ],
    ids=ascii,
)
def test_look_alikes_have_no_key(text, reason):
    with pytest.raises(NotCanonical) as refused:
        text_key(text)

    assert refused.value.reason == reason


@pytest.mark.parametrize("text", ["5 μm", "می‌خواهم", "👩\u200d🔬", "日本語テスト", "naïve"])
def test_honest_scripts_are_kept(text):
    assert text_key(text)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_text_key_is_its_own_key(text):
    try:
        found = text_key(text)
    except NotCanonical:
        return

    assert text_key(found) == found


def test_a_choice_is_one_of_the_labels_in_any_case():
    choices = ("A", "B", "none of these")

    assert [choice_key(label, choices) for label in ("b", "(B)", "B.", "None of these")] == [
        "B",
        "B",
        "B",
        "none of these",
    ]


def test_json_numbers_that_doubles_confuse_are_different_votes():
    """9007199254740993 has no double of its own: through floats both would be one vote."""
    assert json_key("[9007199254740993]") != json_key("[9007199254740992]")
    assert json_key('{"b": 1.0, "a": 2}') == json_key('{"a":2,"b":1}') == '{"a":2,"b":1}'


def test_tool_calls_are_one_vote_whatever_their_spacing_or_order():
    order = ToolCall(id="a", name="get_order", arguments='{"id": 9007199254740993}')
    same = ToolCall(id="b", name="get_order", arguments='{"id":9007199254740993}')
    other = ToolCall(id="c", name="get_order", arguments='{"id": 9007199254740992}')

    assert calls_key([order]) == calls_key([same]) == 'get_order({"id":9007199254740993})'
    assert calls_key([other]) != calls_key([order])
    assert calls_key([order, other]) == calls_key([other, same])


def test_a_long_key_is_cut_to_its_beginning_and_a_hash():
    long, longer = json_key(f'"{"x" * 600}"'), json_key(f'"{"x" * 601}"')

    assert max(len(long), len(longer)) <= MAX_KEY_CHARS
    assert long != longer
