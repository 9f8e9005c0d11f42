"""What functions, roots and powers of scalars are, where that has one exact form.

Everything else becomes an atom of its own (`sin(x)`, `ln(2)`), equal only to the same function of
the same argument. There is no calculus and no identity here beyond the table of standard angles.
"""

from __future__ import annotations

import math
from fractions import Fraction

from verifiers.algebra import forms
from verifiers.algebra.forms import EULER, IMAGINARY, PI, Atom, Scalar
from verifiers.algebra.limits import MAX_BITS, NotMath, Work

MAX_FACTORIAL = 100
MAX_CHOOSE = 300

HALF = Fraction(1, 2)


def root(value: Scalar, degree: int, work: Work) -> Scalar:
    """The real root of a number; of a negative one: `i` times it (square) or odd roots."""
    return power(value, Fraction(1, degree), work)


def power(base: Scalar, exponent: Fraction, work: Work) -> Scalar:
    """A rational power of a scalar."""
    if exponent.denominator == 1:
        if not base.top and exponent <= 0:
            raise NotMath("undefined")
        return forms.whole_power(base, exponent.numerator, work)
    exact = base.rational
    if exact is not None:
        return _power_of_rational(exact, exponent, work)
    if len(base.top) == 1 and base.bottom == forms._ONE:
        return _power_of_term(base, exponent, work)
    content = _content(base)
    rest = forms.multiply(base, forms.rational(1 / content), work)
    outside = _power_of_rational(content, exponent, work)
    return forms.multiply(outside, _opaque_power(rest, exponent, work), work)


def _power_of_rational(value: Fraction, exponent: Fraction, work: Work) -> Scalar:
    if value == 0:
        if exponent < 0:
            raise NotMath("undefined")
        return forms.ZERO
    if value < 0:
        positive = _power_of_rational(-value, exponent, work)
        if exponent.denominator % 2:
            return positive if exponent.numerator % 2 == 0 else forms.negate(positive)
        if exponent.denominator > 2:
            raise NotMath("ambiguous")
        turned = forms.whole_power(forms.from_atom(IMAGINARY), exponent.numerator, work)
        return forms.multiply(positive, turned, work)
    over = forms.factor(value.numerator, work)
    under = forms.factor(value.denominator, work)
    if over is None or under is None:
        return _opaque_power(forms.rational(value), exponent, work)
    result = forms.rational(1)
    for number, times in (*over.items(), *((p, -n) for p, n in under.items())):
        raised = forms._radical(forms.prime(number), exponent * times, work)
        result = forms.multiply(result, raised, work)
    return result


def _power_of_term(base: Scalar, exponent: Fraction, work: Work) -> Scalar:
    """A root of one term; `√(x²)` is not `x`, so even powers of unknown sign stay together."""
    ((monomial, coefficient),) = base.top
    positive = all(atom.rank in (0, 2) for atom, _ in monomial)
    simple = all(atom.rank in (0, 2) or (atom.rank == 3 and e == 1) for atom, e in monomial)
    if not simple or (coefficient < 0 and not positive) or len(monomial) > 4:
        return _opaque_power(base, exponent, work)
    result = _power_of_rational(coefficient, exponent, work)
    for atom, share in monomial:
        if atom.rank == 0:
            raised = forms._radical(atom, share * exponent, work)
        else:
            raised = forms.from_atom(atom, share * exponent)
        result = forms.multiply(result, raised, work)
    return result


def _content(value: Scalar) -> Fraction:
    """A positive rational factor that leaves coprime integers over one."""
    numbers = [c for _, c in value.top]
    top = math.gcd(*(c.numerator for c in numbers))
    return Fraction(top, math.lcm(*(c.denominator for c in numbers)))


def _opaque_power(base: Scalar, exponent: Fraction, work: Work) -> Scalar:
    whole = exponent.numerator // exponent.denominator
    atom = Atom(4, f"({base.key})", function="root", argument=base)
    result = forms.from_atom(atom, exponent - whole)
    return forms.multiply(result, forms.whole_power(base, whole, work), work) if whole else result


def general_power(base: Scalar, exponent: Scalar, work: Work) -> Scalar:
    """Any power; with symbols above, `2^(n+1)` becomes `2 · 2^n` and `4^n` is `(2^n)^2`."""
    exact = exponent.rational
    if exact is not None:
        if exact.numerator.bit_length() > 32 or exact.denominator > MAX_BITS:
            raise NotMath("too_complex")
        return power(base, exact, work)
    if base == forms.from_atom(EULER):
        return exponential(exponent, work)
    value = base.rational
    if value is not None and value <= 0:
        raise NotMath("ambiguous")
    if value is None or exponent.bottom != forms._ONE:
        name = f"({base.key})^({exponent.key})"
        atom = Atom(4, name, function="base^", argument=exponent, base=base)
        return forms.from_atom(atom)
    over, under = forms.factor(value.numerator, work), forms.factor(value.denominator, work)
    if over is None or under is None:
        raise NotMath("too_complex")
    result = forms.rational(1)
    for number, times in (*over.items(), *((p, -n) for p, n in under.items())):
        for monomial, coefficient in exponent.top:
            share = coefficient * times
            if monomial == ():
                raised = power(forms.rational(number), share, work)
            else:
                raised = _based(forms.rational(number), monomial, share)
            result = forms.multiply(result, raised, work)
    return result


def _based(base: Scalar, monomial: forms.Monomial, share: Fraction) -> Scalar:
    inner = Scalar(((monomial, Fraction(1)),), forms._ONE)
    atom = Atom(4, f"{base.key}^({inner.key})", function="base^", argument=inner, base=base)
    return forms.from_atom(atom, share)


def exponential(exponent: Scalar, work: Work) -> Scalar:
    if exponent.bottom != forms._ONE:
        atom = Atom(4, f"exp({exponent.key})", function="exp", argument=exponent)
        return forms.from_atom(atom)
    result = forms.rational(1)
    turn = tuple(sorted(((IMAGINARY, Fraction(1)), (PI, Fraction(1)))))
    for monomial, coefficient in exponent.top:
        if monomial == ():
            raised = power(forms.from_atom(EULER), coefficient, work)
        elif monomial == turn:
            angle = Scalar(((((PI, Fraction(1)),), coefficient),), forms._ONE)
            imaginary = forms.multiply(forms.from_atom(IMAGINARY), call("sin", angle, work), work)
            raised = forms.add(call("cos", angle, work), imaginary, work)
        else:
            raised = _based(forms.from_atom(EULER), monomial, coefficient)
        result = forms.multiply(result, raised, work)
    return result


def call(name: str, argument: Scalar, work: Work) -> Scalar:
    """A named function of one scalar."""
    if name == "exp":
        return exponential(argument, work)
    if name in ("ln", "log"):
        return logarithm(name, argument, work)
    if name == "sqrt":
        return root(argument, 2, work)
    if name in _QUOTIENTS:
        over, under = _QUOTIENTS[name]
        top = call(over, argument, work) if over else forms.rational(1)
        return forms.multiply(top, forms.invert(call(under, argument, work), work), work)
    if name in ("sin", "cos"):
        exact = _standard_angle(name, argument, work)
        if exact is not None:
            return exact
    if name in _ODD or name == "cos":
        if argument.top and argument.top[0][1] < 0:
            turned = _atom_of(name, forms.negate(argument))
            return turned if name == "cos" else forms.negate(turned)
        if not argument.top:
            return forms.rational(1) if name == "cosh" else forms.ZERO
    return _atom_of(name, argument)


def logarithm(name: str, argument: Scalar, work: Work) -> Scalar:
    """`ln` splits over the primes of a number; `log` without a base is not `ln`."""
    if argument == forms.from_atom(EULER) and name == "ln":
        return forms.rational(1)
    value = argument.rational
    if value is None:
        ((monomial, coefficient), *more) = argument.top
        lone = not more and argument.bottom == forms._ONE and coefficient > 0
        if lone and all(atom.rank in (0, 2) for atom, _ in monomial):
            total = logarithm(name, forms.rational(coefficient), work)
            for atom, exponent in monomial:
                inner = forms.rational(atom.prime) if atom.rank == 0 else forms.from_atom(atom)
                one = rational_ln(name, inner)
                total = forms.add(total, forms.multiply(one, forms.rational(exponent), work), work)
            return total
        return _atom_of(name, argument)
    if value <= 0:
        raise NotMath("undefined")
    over, under = forms.factor(value.numerator, work), forms.factor(value.denominator, work)
    if over is None or under is None:
        return _atom_of(name, argument)
    total = forms.ZERO
    for number, times in (*over.items(), *((p, -n) for p, n in under.items())):
        one = rational_ln(name, forms.rational(number))
        total = forms.add(total, forms.multiply(one, forms.rational(times), work), work)
    return total


def rational_ln(name: str, argument: Scalar) -> Scalar:
    if name == "ln" and argument == forms.from_atom(EULER):
        return forms.rational(1)
    return _atom_of(name, argument)


def factorial(value: Scalar) -> Scalar:
    number = value.rational
    if number is None:
        return _atom_of("factorial", value)
    if number < 0 or number.denominator != 1:
        raise NotMath("undefined")
    if number > MAX_FACTORIAL:
        raise NotMath("too_complex")
    return forms.rational(math.factorial(number.numerator))


def binomial(over: Scalar, under: Scalar) -> Scalar:
    top, bottom = over.rational, under.rational
    if top is None or bottom is None or top.denominator != 1 or bottom.denominator != 1:
        raise NotMath("unparsable")
    if not 0 <= bottom <= top or top > MAX_CHOOSE:
        raise NotMath("too_complex")
    return forms.rational(math.comb(top.numerator, bottom.numerator))


def _atom_of(name: str, argument: Scalar) -> Scalar:
    return forms.from_atom(Atom(4, f"{name}({argument.key})", function=name, argument=argument))


def _standard_angle(name: str, argument: Scalar, work: Work) -> Scalar | None:
    """Sine and cosine of multiples of π/12."""
    turns = _share_of_pi(argument)
    if turns is None or (turns * 12).denominator != 1:
        return None
    twelfths = int(turns * 12) + (6 if name == "cos" else 0)
    twelfths %= 24
    sign = -1 if twelfths >= 12 else 1
    twelfths %= 12
    twelfths = min(twelfths, 12 - twelfths)
    total = forms.ZERO
    for number, share in _SINES[twelfths]:
        part = power(forms.rational(number), HALF, work)
        total = forms.add(total, forms.multiply(part, forms.rational(share * sign), work), work)
    return total


def _share_of_pi(argument: Scalar) -> Fraction | None:
    if not argument.top:
        return Fraction(0)
    if len(argument.top) == 1 and argument.bottom == forms._ONE:
        monomial, coefficient = argument.top[0]
        if monomial == ((PI, Fraction(1)),):
            return coefficient
    return None


_QUARTER = Fraction(1, 4)
_SINES: dict[int, tuple[tuple[int, Fraction], ...]] = {
    0: (),
    1: ((6, _QUARTER), (2, -_QUARTER)),
    2: ((1, HALF),),
    3: ((2, HALF),),
    4: ((3, HALF),),
    5: ((6, _QUARTER), (2, _QUARTER)),
    6: ((1, Fraction(1)),),
}
_QUOTIENTS = {"tan": ("sin", "cos"), "cot": ("cos", "sin"), "sec": ("", "cos"), "csc": ("", "sin")}
_ODD = ("sin", "sinh", "tanh", "arcsin", "arctan")
