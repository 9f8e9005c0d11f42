from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from verifiers.algebra.compare import compare
from verifiers.algebra.limits import INLINE, WORKER, NotMath, Work
from verifiers.algebra.values import Policy, read_value, vote_key
from verifiers.canonical import NotCanonical, number_key

HOUSE = Policy()


def key(text: str) -> str:
    return read_value(text, HOUSE, WORKER).key


def relation(left: str, right: str) -> str:
    one, other = (read_value(text, HOUSE, WORKER) for text in (left, right))
    return compare(one, other, Work(WORKER))


@pytest.mark.parametrize(
    ("wanted", "spellings"),
    [
        (
            "2*sqrt(3)",
            ["2\\sqrt{3}", "\\sqrt{12}", "√12", "2√3", "sqrt(12)", "12^{1/2}", "2 \\cdot \\sqrt 3"],
        ),
        (
            "1/2*sqrt(3)",
            ["\\frac{\\sqrt3}{2}", "\\sqrt{3}/2", "\\frac{3}{2\\sqrt3}", "\\sqrt{\\frac34}"],
        ),
        ("-1+sqrt(2)", ["\\sqrt2-1", "\\frac{1}{1+\\sqrt2}", "-1+√2"]),
        ("sqrt(6)", ["\\sqrt6", "\\sqrt2\\sqrt3", "\\sqrt{2}\\cdot\\sqrt{3}"]),
        ("2^(2/3)", ["\\sqrt[3]{4}", "4^{1/3}", "2^{\\frac23}"]),
        ("2*i", ["2i", "\\sqrt{-4}", "i+i"]),
        ("x^2+2*x+1", ["(x+1)^2", "x^2+2x+1", "1+2x+x²", "(x+1)(1+x)", "x(x+2)+1"]),
        ("x+1", ["\\frac{x^2-1}{x-1}", "x+1", "\\frac{2x+2}{2}"]),
        ("2*2^(n)", ["2^{n+1}", "2\\cdot2^n", "\\frac{4^{n+1}}{2^{n+1}}"]),
        ("3*ln(2)", ["\\ln 8", "3\\ln{2}", "\\ln(8)"]),
        ("cos(x)^-1*sin(x)", ["\\tan x", "\\frac{\\sin x}{\\cos x}"]),
        (
            "3",
            [
                "\\log_2 8",
                "\\log_{10} 1000",
                "|-3|",
                "|3|",
                "\\sqrt{9}",
                "6/2",
                "x=3",
                "3.0",
                "3!/2",
            ],
        ),
        ("5", ["|3+4i|", "\\binom{5}{1}"]),
        ("1/2", ["\\sin 30^\\circ", "\\cos\\frac{\\pi}{3}", "\\sin(\\frac{5\\pi}{6})", "½"]),
        ("-1", ["e^{i\\pi}", "\\cos \\pi", "i^2"]),
        ("1/3", ["0.\\overline{3}", "\\frac13", "\\frac{2}{6}"]),
        ("12345", ["12,345", "12{,}345", "12\\,345", "12,\\!345", "12345"]),
        ("{1,2}", ["\\{1,2\\}", "2, 1", "1 \\text{ or } 2", "\\{2,1,1\\}"]),
        ("{1+sqrt(2),1-sqrt(2)}", ["1\\pm\\sqrt2", "1±√2", "1-\\sqrt2, 1+\\sqrt2"]),
        ("(1,2)", ["(1,2)", "\\left( 1,\\ 2 \\right)", "(1.0, 2)"]),
        ("[1,2)", ["[1,2)", "\\left[1, 2\\right)", "1 \\le x < 2", "2 > x \\geq 1"]),
        ("(2,+inf)", ["(2,\\infty)", "x>2", "(2, ∞)", "2 < x", "(2,+\\infty)"]),
        (
            "(-inf,1) U (2,+inf)",
            ["(-\\infty,1)\\cup(2,\\infty)", "x<1 \\text{ or } x>2", "(2,∞)∪(-∞,1)"],
        ),
        ("x-1/2*y=0", ["y=2x", "2x-y=0", "y-2x=0", "4x = 2y"]),
        (
            "[(1,2),(3,4)]",
            [
                "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
                "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\\\ \\end{bmatrix}",
            ],
        ),
        ("east", ["\\text{east}", "East", "\\textbf{east}"]),
        ("52_8", ["52_8", "52_{8}"]),
        ("1.75", ["1\\frac34", "1 3/4", "\\frac{7}{4}", "1.75"]),
        ("90", ["90^\\circ", "90°", "90 \\text{ degrees}", "90^{\\circ}", "90\\%", "\\$90"]),
        ("864", ["864 \\mbox{ inches}^2", "864\\text{ in}^2", "864 cm"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_value_in_any_spelling_is_one_key(wanted, spellings):
    assert {text: key(text) for text in spellings} == dict.fromkeys(spellings, wanted)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x^2", "2x"),
        ("\\sqrt{2}", "\\sqrt{3}"),
        ("x", "y"),
        ("x", "X"),
        ("v", "\\nu"),
        ("2i", "2"),
        ("e", "\\pi"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "\\{1,2\\}"),
        ("[1,2]", "[1,2)"),
        ("x_1", "x_2"),
        ("\\ln 2", "\\log 2"),
        ("x>2", "x<2"),
        ("y=2x", "y=2x+1"),
        ("5_8", "5_7"),
        ("2^n", "n^2"),
        ("\\sqrt{x^2}", "x"),
        ("\\sin x", "\\cos x"),
        ("1-e^{-1}", "1+e^{-1}"),
        ("e^{-900}", "0"),
        ("\\sqrt{2}+\\sqrt{3}", "\\sqrt{5}"),
        ("3.14159265358979323846", "\\pi"),
        ("5", "\\{5\\}"),
    ],
)
def test_different_values_are_different_keys(one, other):
    assert key(one) != key(other)
    assert relation(one, other) == "different"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\\sin^2 x + \\cos^2 x", "1"),
        ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"),
        ("\\frac{x^2-y^2}{x^2+2xy+y^2}", "\\frac{x-y}{x+y}"),
        ("\\sin 2x", "2\\sin x\\cos x"),
        ("\\{\\sqrt{3+2\\sqrt2}, 1\\}", "\\{1, 1+\\sqrt2\\}"),
        ("\\cos\\frac{\\pi}{5}", "\\frac{1+\\sqrt5}{4}"),
    ],
)
def test_equal_values_without_one_form_are_found_by_their_digits(one, other):
    assert key(one) != key(other)
    assert relation(one, other) == "equal"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1/2x", "ambiguous"),
        ("\\sqrt12", "ambiguous"),
        ("\\sin^{-1} x", "ambiguous"),
        ("3 4", "ambiguous"),
        ("x \\approx 3", "ambiguous"),
        ("\\sin x/2", "ambiguous"),
        ("x=3=4", "ambiguous"),
        ("1/0", "undefined"),
        ("0^{-1}", "undefined"),
        ("\\ln 0", "undefined"),
        ("3=4", "undefined"),
        ("[1,\\infty]", "undefined"),
        ("9^{9^{9}}", "too_complex"),
        ("101!", "too_complex"),
        ("2^{9999}", "too_complex"),
        ("\\binom{999}{5}", "too_complex"),
        ("(3!)!", "too_complex"),
        ("9" * 257, "too_complex"),
        ("(" * 65 + "1" + ")" * 65, "too_complex"),
        ("+".join("x" * 600), "too_complex"),
        ("\\int x", "unparsable"),
        ("", "unparsable"),
        ("(1", "unparsable"),
        ("1)", "unparsable"),
        ("x+", "unparsable"),
        ("\\frac{1}", "unparsable"),
        ("5 \\text{ or more}", "unparsable"),
        ("x \\ne 3", "unparsable"),
        ("\\{x \\mid x>0\\}", "unparsable"),
        ("1 \\text{, not } 2", "unparsable"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_not_clearly_one_value_is_refused_by_reason(text, reason):
    with pytest.raises(NotMath) as refused:
        read_value(text, HOUSE, WORKER)

    assert refused.value.reason == reason


rationals = st.fractions(max_denominator=10**6)
coefficients = st.lists(st.integers(-9, 9), min_size=1, max_size=4)


def polynomial(numbers: list[int]) -> str:
    terms = [f"({n}) x^{{{power}}}" for power, n in enumerate(numbers)]
    return " + ".join(terms)


@settings(deadline=None)
@given(rationals)
def test_every_rational_has_its_number_key_in_every_form(value):
    top, bottom = value.numerator, value.denominator

    written = (f"\\frac{{{top}}}{{{bottom}}}", f"{top}/{bottom}", f"{7 * top}/{7 * bottom}")
    assert {key(text) for text in written} == {number_key(value)}


@settings(deadline=None)
@given(rationals, rationals)
def test_different_rationals_never_meet(one, other):
    assume(one != other)

    assert relation(str(one), str(other)) == "different"


@settings(deadline=None)
@given(coefficients, coefficients)
def test_a_product_is_equal_to_itself_multiplied_out(left, right):
    product = [0] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            product[i + j] += a * b

    assert key(f"({polynomial(left)})({polynomial(right)})") == key(polynomial(product))


@settings(deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=4), st.permutations(range(4)))
def test_the_order_of_a_sum_does_not_matter(numbers, order):
    terms = [f"{n}\\sqrt{{{n}}}" for n in numbers]
    turned = [terms[index] for index in order if index < len(terms)]

    assert key(" + ".join(terms)) == key("+".join(turned))


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(2, 60), st.integers(1, 30), st.integers(2, 60))
def test_radicals_are_compared_exactly(a, m, b, n):
    same = a * a * m == b * b * n

    found = relation(f"{a}\\sqrt{{{m}}}", f"{b}\\sqrt{{{n}}}")

    assert found == ("equal" if same else "different")


@settings(deadline=None)
@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(2, 30))
def test_a_denominator_with_a_root_is_rationalised(a, b, n):
    norm = a * a - b * b * n
    assume(norm and (a or b))

    inverse = f"\\frac{{1}}{{({a})+({b})\\sqrt{{{n}}}}}"

    assert key(inverse) == key(f"\\frac{{({a})-({b})\\sqrt{{{n}}}}}{{{norm}}}")


PLAIN = "1 2 0 . , x y e i + - * / ^ _ ( ) [ ] { } | = < > ! % $ & and or ² √ ½ π"
LATEX = (
    r"\pi \{ \} \frac \sqrt \text{cm} \cup \in \infty \sin \ln \pm \circ \\ "
    r"\begin{pmatrix} \end{pmatrix}"
)
FRAGMENTS = st.sampled_from(f"{PLAIN} {LATEX}".split())


@settings(deadline=None, max_examples=400)
@given(st.lists(FRAGMENTS, max_size=14).map("".join) | st.text(max_size=20))
def test_any_text_has_a_key_or_a_reason(text):
    """And a key that is read again is the same key where it is a number."""
    try:
        found = vote_key(text, HOUSE)
    except NotCanonical as refused:
        found = refused.reason

    assert found
    value = read_inline_or_none(text)
    if value is not None:
        assert vote_key(number_key(value), HOUSE) == found


def read_inline_or_none(text: str) -> Fraction | None:
    try:
        value = read_value(text, HOUSE, INLINE)
    except (NotMath, NotCanonical):
        return None
    return value.exact if value.kind == "scalar" else None
