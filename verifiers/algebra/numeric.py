"""Values of constants to fifty digits, to tell apart what normal forms cannot.

Only for worker processes: it takes milliseconds. Complex arguments of functions are not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException, localcontext
from fractions import Fraction

from verifiers.algebra.forms import EULER, IMAGINARY, PI, Atom, Monomial, Scalar
from verifiers.algebra.limits import NotMath

DIGITS = 70
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")


def evaluate(value: Scalar, symbols: Mapping[str, Fraction]) -> tuple[Decimal, Decimal]:
    """Real and imaginary part. Raises `NotMath` where a function is not defined or known."""
    with localcontext() as context:
        context.prec = DIGITS
        context.Emax, context.Emin = 100_000, -100_000
        try:
            top, bottom = _sum(value.top, symbols), _sum(value.bottom, symbols)
            size = bottom[0] ** 2 + bottom[1] ** 2
            real = (top[0] * bottom[0] + top[1] * bottom[1]) / size
            imaginary = (top[1] * bottom[0] - top[0] * bottom[1]) / size
            return real, imaginary
        except (DecimalException, ZeroDivisionError, OverflowError):
            raise NotMath("undefined") from None


def _sum(
    terms: tuple[tuple[Monomial, Fraction], ...], symbols: Mapping[str, Fraction]
) -> tuple[Decimal, Decimal]:
    parts = [Decimal(0), Decimal(0)]
    for monomial, coefficient in terms:
        size = _decimal(coefficient)
        for atom, exponent in monomial:
            if atom != IMAGINARY:
                size *= _power(_atom(atom, symbols), exponent)
        parts[any(atom == IMAGINARY for atom, _ in monomial)] += size
    return parts[0], parts[1]


def _power(base: Decimal, exponent: Fraction) -> Decimal:
    if exponent.denominator == 1:
        return base ** int(exponent)
    if base < 0:
        raise NotMath("undefined")
    return base ** _decimal(exponent)


def _atom(atom: Atom, symbols: Mapping[str, Fraction]) -> Decimal:
    if atom.rank == 0:
        return Decimal(atom.prime)
    if atom == PI:
        return _PI
    if atom == EULER:
        return Decimal(1).exp()
    if atom.rank == 3:
        return _decimal(symbols[atom.name])
    if atom.argument is None:
        raise NotMath("unparsable")
    argument = _real(atom.argument, symbols)
    if atom.function == "base^" and atom.base is not None:
        return _power_of(_real(atom.base, symbols), argument)
    if atom.function not in _FUNCTIONS:
        raise NotMath("unparsable")
    return _FUNCTIONS[atom.function](argument)


def _real(value: Scalar, symbols: Mapping[str, Fraction]) -> Decimal:
    real, imaginary = evaluate(value, symbols)
    if abs(imaginary) > Decimal(10) ** -60:
        raise NotMath("undefined")
    return real


def _power_of(base: Decimal, exponent: Decimal) -> Decimal:
    if base <= 0:
        raise NotMath("undefined")
    return base**exponent


def _sine(angle: Decimal) -> Decimal:
    if abs(angle) > 10_000:
        raise NotMath("too_complex")
    angle = angle.remainder_near(2 * _PI)
    term = total = angle
    for n in range(1, 60):
        term *= -angle * angle / (2 * n * (2 * n + 1))
        total += term
    return total


def _log10(value: Decimal) -> Decimal:
    return value.log10()


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


_FUNCTIONS: Mapping[str, Callable[[Decimal], Decimal]] = {
    "sin": _sine,
    "cos": lambda angle: _sine(_PI / 2 - angle),
    "ln": Decimal.ln,
    "log": _log10,
    "exp": Decimal.exp,
    "abs": Decimal.copy_abs,
    "root": lambda value: value,
    "sinh": lambda x: (x.exp() - (-x).exp()) / 2,
    "cosh": lambda x: (x.exp() + (-x).exp()) / 2,
    "tanh": lambda x: ((2 * x).exp() - 1) / ((2 * x).exp() + 1),
}
