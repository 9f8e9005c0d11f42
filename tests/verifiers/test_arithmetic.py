from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.tables import rows
from verifiers.arithmetic import NotArithmetic, evaluate, find_question
from verifiers.canonical import number_key


@pytest.mark.parametrize("row", rows("arithmetic"))
def test_only_an_arithmetic_question_is_taken_up(row):
    expression = find_question(row["prompt"])

    value = None if expression is None else number_key(evaluate(expression))
    assert value == row["value"]


@settings(deadline=None)
@given(st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 99), st.sampled_from("+-*"))
def test_values_are_exact_and_precedence_holds(a, b, c, sign):
    expected = {"+": a + b * c, "-": a - b * c, "*": a * b * c}[sign]

    assert evaluate(f"{a} {sign} {b} * {c}") == expected


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(1, 999), st.integers(1, 999))
def test_division_is_exact(a, b, c):
    assert evaluate(f"{a} / {b} / {c}") == Fraction(a, b * c)


REFUSED = """1 + | (1 + 2 | 1 + 2) | 1 2 + 3 | 5 / (2 - 2) | 0 ^ 0 | 2 ^ 0.5 | 2 ^ -1 | 9^500^9
999999^512 | a + b | 1 + __import__ | 007 + 1 | 1,23 + 4 | 1.2.3 + 4 | 5 | ()""".replace(
    "\n", " | "
)
TOO_LARGE = ["9" * 41 + " + 1", "1 + 1" * 200, "(" * 30 + "1 + 1" + ")" * 30]


@pytest.mark.parametrize("expression", [*REFUSED.split(" | "), *TOO_LARGE], ids=lambda e: e[:20])
def test_what_cannot_be_calculated_says_so(expression):
    with pytest.raises(NotArithmetic) as refused:
        evaluate(expression)

    assert str(refused.value)


@settings(deadline=None)
@given(st.text(alphabet="0123456789+-*/^()%., xof²", max_size=80))
def test_any_text_is_calculated_or_refused(text):
    try:
        value = evaluate(text)
    except NotArithmetic:
        return

    assert isinstance(value, Fraction)


@settings(deadline=None)
@given(st.text(max_size=500))
def test_any_prompt_is_a_question_or_not(prompt):
    expression = find_question(prompt)

    assert expression is None or isinstance(evaluate(expression), Fraction)
