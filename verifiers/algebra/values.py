"""Tree → value: a scalar, or a set, tuple, interval, matrix, relation or text of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from verifiers.algebra import forms, scalars
from verifiers.algebra.forms import EULER, IMAGINARY, PI, Scalar
from verifiers.algebra.limits import INLINE, Limits, NotMath, Work
from verifiers.algebra.syntax import Tree, read_tree
from verifiers.canonical.cleaning import NotCanonical, clean, shorten_key
from verifiers.canonical.conversion import Scale, find_scale
from verifiers.canonical.texts import text_key
from verifiers.canonical.units import PercentPolicy, UnitPolicy

Kind = Literal[
    "scalar", "text", "set", "tuple", "interval", "union", "matrix", "equation", "based", "unit",
    "infinity",
]  # fmt: skip
OrderPolicy = Literal["any", "same"]
"""Whether `1, 2` without brackets is a set of solutions or a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """House rules of one task, where public graders contradict each other."""

    percent: PercentPolicy = "drop"
    units: UnitPolicy = "drop"
    order: OrderPolicy = "any"


@dataclass(frozen=True, slots=True)
class Value:
    """One answer in normal form."""

    kind: Kind
    scalar: Scalar | None = None
    parts: tuple[Value, ...] = ()
    """Elements; sorted by key in sets."""
    name: str = ""
    """Text, unit, relation sign, or the bracket pair of an interval."""
    literal: bool = False
    """Written as one number: an integer, a decimal, a fraction of digits, a mixed number."""

    @property
    def key(self) -> str:
        """Equal for equal normal forms only."""
        inside = ",".join(part.key for part in self.parts)
        if self.kind == "scalar" and self.scalar is not None:
            return self.scalar.key
        if self.kind == "unit":
            return f"{inside} {self.name}"
        if self.kind == "interval":
            return f"{self.name[0]}{inside}{self.name[1]}"
        if self.kind == "union":
            return " U ".join(part.key for part in self.parts)
        if self.kind == "equation":
            return f"{inside}{self.name}0"
        return (
            self.name
            + _BRACKETS.get(self.kind, ("", ""))[0]
            + inside
            + (_BRACKETS.get(self.kind, ("", ""))[1])
        )

    @property
    def is_written(self) -> bool:
        """Made of written numbers only, so that no engine is needed to compare it."""
        if self.kind in ("unit", "tuple", "set"):
            return bool(self.parts) and all(part.is_written for part in self.parts)
        return self.literal or self.kind == "based"

    @property
    def exact(self) -> Fraction | None:
        """Its value when it is a rational number."""
        return self.scalar.rational if self.scalar is not None else None


_BRACKETS = {"set": ("{", "}"), "tuple": ("(", ")"), "matrix": ("[", "]")}
_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le"}


def read_value(text: str, policy: Policy, limits: Limits = INLINE) -> Value:
    """The value of a whole answer. Raises `NotMath` or `NotCanonical`."""
    return evaluate(read_tree(text, limits), policy, Work(limits))


@lru_cache(maxsize=512)
def read_inline(text: str, policy: Policy) -> Value | NotMath:
    """`read_value` within the limits of the event loop; answers come more than once."""
    try:
        return read_value(text, policy, INLINE)
    except NotMath as unread:
        return NotMath(unread.reason)


def evaluate(tree: Tree, policy: Policy, work: Work) -> Value:
    """The value of a tree under the house rules."""
    return _Evaluator(policy, work).value(tree)


class _Evaluator:
    def __init__(self, policy: Policy, work: Work) -> None:
        self._policy = policy
        self._work = work

    def value(self, tree: Tree) -> Value:
        """Of a node that may be more than a scalar."""
        work = self._work
        if tree.op == "text":
            return Value("text", name=text_key(tree.name))
        if tree.op == "based":
            return Value("based", name=tree.name)
        if tree.op == "unit":
            return self._unit(tree)
        if tree.op == "plus_minus":
            return self._both_signs(tree)
        if tree.op in ("braces", "list"):
            return self._collection(tree)
        if tree.op == "tuple":
            return self._pair(tree)
        if tree.op == "interval":
            return self._interval(tree.name, [self.value(part) for part in tree.parts])
        if tree.op == "matrix":
            rows = tuple(Value("tuple", parts=tuple(map(self.value, r.parts))) for r in tree.parts)
            return Value("matrix", parts=rows)
        if tree.op == "union":
            return self._union([self._as_interval(self.value(part)) for part in tree.parts])
        if tree.op == "relation":
            return self._relation(tree)
        if infinity := _infinity(tree):
            return Value("infinity", name=infinity)
        work.spend(1)
        return Value("scalar", self.scalar(tree), literal=is_literal(tree))

    def _unit(self, tree: Tree) -> Value:
        inner = self.value(tree.parts[0])
        if inner.kind not in ("scalar", "tuple", "set", "based"):
            raise NotMath("unparsable")
        if tree.name == "%" and self._policy.percent == "ratio" and inner.scalar is not None:
            hundredth = forms.rational(Fraction(1, 100))
            scaled = forms.multiply(inner.scalar, hundredth, self._work)
            return Value("scalar", scaled, literal=inner.literal)
        policy = self._policy.percent if tree.name == "%" else self._policy.units
        if policy == "convert" and (scale := find_scale(tree.name)) is not None:
            return Value("unit", parts=(self._scaled_by(scale, inner),), name=scale.base)
        if policy in ("keep", "convert"):
            return Value("unit", parts=(inner,), name=tree.name)
        return inner

    def _scaled_by(self, scale: Scale, value: Value) -> Value:
        """The same measure, or the same measures, in the base unit."""
        if value.kind in ("tuple", "set"):
            parts = [self._scaled_by(scale, part) for part in value.parts]
            return _set(parts) if value.kind == "set" else Value("tuple", parts=tuple(parts))
        if value.scalar is None:
            raise NotMath("unparsable")
        scaled = forms.multiply(value.scalar, forms.rational(scale.factor), self._work)
        moved = forms.add(scaled, forms.rational(scale.offset), self._work)
        return Value("scalar", moved, literal=value.literal)

    def _both_signs(self, tree: Tree) -> Value:
        left, right = (self.scalar(part) for part in tree.parts)
        both = (forms.add(left, right, self._work), forms.subtract(left, right, self._work))
        return _set([Value("scalar", scalar) for scalar in both])

    def _collection(self, tree: Tree) -> Value:
        """Braces are sets; a bare list is one too unless order matters here."""
        parts = [self.value(part) for part in tree.parts]
        if tree.op == "list" and all(part.kind in ("interval", "union") for part in parts):
            return self._union(parts)
        if tree.op == "list" and any(part.kind in ("interval", "text") for part in parts):
            raise NotMath("ambiguous")
        if tree.op == "list" and self._policy.order == "same":
            return Value("tuple", parts=tuple(parts))
        flat = [one for part in parts for one in (part.parts if part.kind == "set" else (part,))]
        return _set(flat)

    def _pair(self, tree: Tree) -> Value:
        parts = [self.value(part) for part in tree.parts]
        if len(parts) == 2 and any(part.kind == "infinity" for part in parts):
            return self._interval("()", parts)
        return Value("tuple", parts=tuple(parts))

    def _as_interval(self, value: Value) -> Value:
        if value.kind == "tuple" and len(value.parts) == 2:
            return self._interval("()", list(value.parts))
        if value.kind not in ("interval", "set", "union"):
            raise NotMath("unparsable")
        return value

    def _interval(self, brackets: str, ends: list[Value]) -> Value:
        if any(end.kind not in ("scalar", "infinity") for end in ends):
            raise NotMath("unparsable")
        closed_infinity = (ends[0].kind == "infinity" and brackets[0] == "[") or (
            ends[1].kind == "infinity" and brackets[1] == "]"
        )
        if closed_infinity:
            raise NotMath("undefined")
        return Value("interval", parts=tuple(ends), name=brackets)

    def _union(self, parts: Sequence[Value]) -> Value:
        flat = [one for part in parts for one in (part.parts if part.kind == "union" else (part,))]
        return Value("union", parts=tuple(sorted(set(flat), key=lambda part: part.key)))

    def _relation(self, tree: Tree) -> Value:
        signs = tree.name.split()
        if signs == ["in"]:
            if not _is_symbol(tree.parts[0]):
                raise NotMath("unparsable")
            inside = self.value(tree.parts[1])
            return self._as_interval(inside) if inside.kind == "tuple" else inside
        if set(signs) == {"="}:
            return self._equation(tree.parts)
        if set(signs) <= {"<", "le"} or set(signs) <= {">", "ge"}:
            return self._inequality(tree.parts, signs)
        raise NotMath("unparsable")

    def _equation(self, sides: tuple[Tree, ...]) -> Value:
        """`x = 5` says 5; `y = 2x` stays an equation, equal up to a constant factor."""
        right = self.value(sides[-1])
        if right.exact is not None and all(_is_constant(side) for side in sides[:-1]):
            if any(self.scalar(side) != right.scalar for side in sides[:-1]):
                raise NotMath("undefined")
            return right
        if right.kind not in ("scalar", "infinity"):
            if len(sides) == 2 and _is_name(sides[0]):
                return right
            raise NotMath("unparsable")
        if right.scalar is not None and not right.scalar.symbols and _is_name(sides[0]):
            same = all(self.value(side).scalar == right.scalar for side in sides[1:-1])
            if not same:
                raise NotMath("ambiguous")
            return right
        if len(sides) != 2 or right.scalar is None:
            raise NotMath("ambiguous")
        difference = forms.subtract(self.scalar(sides[0]), right.scalar, self._work)
        return Value("equation", parts=(Value("scalar", self._scaled(difference)),), name="=")

    def _scaled(self, difference: Scalar) -> Scalar:
        if not difference.top:
            raise NotMath("undefined")
        lead = forms.rational(1 / difference.top[0][1])
        return forms.multiply(difference, lead, self._work)

    def _inequality(self, sides: tuple[Tree, ...], signs: list[str]) -> Value:
        """A solved one (`x > 2`, `-2 \\le x < 7`) is its interval."""
        if signs[0] in (">", "ge"):
            sides, signs = sides[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
        named = [index for index, side in enumerate(sides) if _is_name(side)]
        if len(sides) > 3 or len(named) != 1 or (len(sides) == 3 and named != [1]):
            raise NotMath("unparsable")
        (at,) = named
        low = self.value(sides[at - 1]) if at else Value("infinity", name="-inf")
        high = self.value(sides[at + 1]) if at + 1 < len(sides) else Value("infinity", name="+inf")
        for end in (low, high):
            if end.scalar is not None and end.scalar.symbols:
                raise NotMath("unparsable")
        opened = "[" if at and signs[at - 1] == "le" else "("
        closed = "]" if at < len(signs) and signs[at] == "le" else ")"
        return self._interval(opened + closed, [low, high])

    def scalar(self, tree: Tree) -> Scalar:
        """Of a node that must be one scalar."""
        work = self._work
        work.spend(1)
        if tree.op == "number":
            return forms.rational(tree.value)
        if tree.op == "symbol":
            return _named(tree.name)
        if tree.op == "add":
            return forms.add(self.scalar(tree.parts[0]), self.scalar(tree.parts[1]), work)
        if tree.op == "negative":
            return forms.negate(self.scalar(tree.parts[0]))
        if tree.op == "multiply":
            return forms.multiply(self.scalar(tree.parts[0]), self.scalar(tree.parts[1]), work)
        if tree.op == "divide":
            under = forms.invert(self.scalar(tree.parts[1]), work)
            return forms.multiply(self.scalar(tree.parts[0]), under, work)
        if tree.op == "power":
            base, exponent = (self.scalar(part) for part in tree.parts)
            return scalars.general_power(base, exponent, work)
        if tree.op == "root":
            return self._root(tree)
        if tree.op == "call":
            return self._call(tree)
        if tree.op == "factorial":
            return scalars.factorial(self.scalar(tree.parts[0]))
        if tree.op == "binomial":
            return scalars.binomial(*(self.scalar(part) for part in tree.parts))
        if tree.op == "absolute":
            return self._absolute(self.scalar(tree.parts[0]))
        if tree.op == "unit" and tree.name == "degree":
            return self._degrees(tree)
        raise NotMath("unparsable")

    def _root(self, tree: Tree) -> Scalar:
        degree = self.scalar(tree.parts[1]).rational
        if degree is None or degree.denominator != 1 or not 2 <= degree <= 12:
            raise NotMath("too_complex")
        return scalars.root(self.scalar(tree.parts[0]), degree.numerator, self._work)

    def _call(self, tree: Tree) -> Scalar:
        work = self._work
        argument = tree.parts[0]
        if argument.op == "unit" and argument.name == "degree":
            inner = self._degrees(argument)
        else:
            inner = self.scalar(argument)
        if tree.name != "log" or len(tree.parts) == 1:
            return scalars.call(tree.name, inner, work)
        base = self.scalar(tree.parts[1])
        under = forms.invert(scalars.call("ln", base, work), work)
        return forms.multiply(scalars.call("ln", inner, work), under, work)

    def _degrees(self, tree: Tree) -> Scalar:
        one = forms.multiply(forms.from_atom(PI), forms.rational(Fraction(1, 180)), self._work)
        return forms.multiply(self.scalar(tree.parts[0]), one, self._work)

    def _absolute(self, value: Scalar) -> Scalar:
        exact = value.rational
        if exact is not None:
            return forms.rational(abs(exact))
        work, imaginary = self._work, (IMAGINARY, Fraction(1))
        if value.symbols or value.bottom != forms.ZERO.bottom:
            return scalars.call("abs", value, work)
        if IMAGINARY not in value.atoms:
            return scalars.root(forms.multiply(value, value, work), 2, work)
        twin = Scalar(tuple((m, -c if imaginary in m else c) for m, c in value.top), value.bottom)
        return scalars.root(forms.multiply(value, twin, work), 2, work)


def is_literal(tree: Tree) -> bool:
    """True for one written number, so that `2+2` and `10/5` are not taken for an answer."""
    if tree.op in ("negative", "unit"):
        return is_literal(tree.parts[0])
    if tree.op == "number":
        return True
    if tree.op == "divide":
        over, under = (_without_sign(part) for part in tree.parts)
        if over.op != "number" or under.op != "number" or not under.value:
            return False
        integers = over.value.denominator == under.value.denominator == 1
        return integers and (over.value / under.value).denominator != 1
    if tree.op == "multiply":
        left, right = tree.parts
        ten = right.op == "power" and right.parts[0].op == "number" and right.parts[0].value == 10
        return left.op == "number" and ten and _without_sign(right.parts[1]).op == "number"
    return False


def _without_sign(tree: Tree) -> Tree:
    return tree.parts[0] if tree.op == "negative" else tree


def _infinity(tree: Tree) -> str:
    if tree.op == "negative" and _infinity(tree.parts[0]) == "+inf":
        return "-inf"
    return "+inf" if tree.op == "symbol" and tree.name == "infty" else ""


def _is_symbol(tree: Tree) -> bool:
    return tree.op == "symbol" and tree.name not in ("pi", "e", "i", "infty")


def _is_constant(tree: Tree) -> bool:
    return not _is_symbol(tree) and all(map(_is_constant, tree.parts))


def _is_name(tree: Tree) -> bool:
    """A symbol, or a function of one as in `f(x) = …`."""
    if tree.op == "multiply":
        return all(_is_symbol(part) for part in tree.parts) and tree.parts[0].name in "fghFGHPpq"
    return _is_symbol(tree)


def _named(name: str) -> Scalar:
    if name == "infty" or name.startswith("set_"):
        raise NotMath("unparsable")
    constant = {"pi": PI, "e": EULER, "i": IMAGINARY}.get(name)
    return forms.from_atom(constant) if constant is not None else forms.symbol(name)


def _set(parts: Sequence[Value]) -> Value:
    unique = {part.key: part for part in parts}
    return Value("set", parts=tuple(unique[key] for key in sorted(unique)))


def vote_key(text: str, policy: Policy) -> str:
    """The key of a mathematical answer: its normal form, else its spelling without ornaments.

    Equal values that the strict engine cannot bring to one form are two votes, never one.
    """
    value = read_inline(text, policy)
    if isinstance(value, Value):
        return shorten_key(value.key)
    if value.reason == "undefined":
        raise NotCanonical("undefined")
    return spelling(text)


def spelling(text: str) -> str:
    """A formula without what does not change its meaning; prose gets its text key."""
    text = clean(text).strip()
    if "\\" not in text and " " in text:
        return text_key(text)
    for ornament, plain in _ORNAMENTS:
        text = text.replace(ornament, plain)
    key = "".join(text.split()).rstrip(".")
    if not key:
        raise NotCanonical("no_answer")
    return shorten_key(key)


_ORNAMENTS = (
    ("\\left", ""), ("\\right", ""), ("\\displaystyle", ""), ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"), ("\\!", ""), ("\\,", ""), ("\\;", ""), ("\\ ", ""), ("$", ""),
)  # fmt: skip
