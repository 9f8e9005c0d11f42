"""Exact scalars: quotients of polynomials over Q whose variables are atoms.

An atom is a prime under a root, the imaginary unit, π, e, a symbol, or a function of a scalar
(`sin(x)`, `2^(n)`, a root of a sum). Products of roots of primes are linearly independent over Q
(Besicovitch 1940), so sums of radicals have one form. Multiplying costs steps of a `Work`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product

from verifiers.algebra.limits import MAX_BITS, NotMath, Work
from verifiers.canonical.numbers import number_key

MAX_FIELD = 16
"""Dimension of a field of radicals in which a denominator is inverted."""
MAX_POWER = 64
_TRIAL = 2_000
"""Primes up to here are divided out; what is left must be below its square to be prime."""


@dataclass(frozen=True, order=True, slots=True)
class Atom:
    """A variable of the polynomials; equal by `rank` and `name`."""

    rank: int
    """Order of printing: 0 primes, 1 i, 2 constants, 3 symbols, 4 functions."""
    name: str
    prime: int = field(default=0, compare=False)
    function: str = field(default="", compare=False)
    """`sin`, `root`, … when it is a function of `argument`; `base^` for a power of a base."""
    argument: Scalar | None = field(default=None, compare=False)
    base: Scalar | None = field(default=None, compare=False)


Monomial = tuple[tuple[Atom, Fraction], ...]
"""Atoms with their exponents, sorted; primes have exponents below 1 and `i` has 1."""
Terms = Mapping[Monomial, Fraction]

IMAGINARY = Atom(1, "i")
PI = Atom(2, "pi")
EULER = Atom(2, "e")
ONE: Terms = {(): Fraction(1)}


@dataclass(frozen=True, slots=True)
class Scalar:
    """`top / bottom`, reduced as far as `make` can."""

    top: tuple[tuple[Monomial, Fraction], ...]
    bottom: tuple[tuple[Monomial, Fraction], ...]

    @property
    def rational(self) -> Fraction | None:
        """Its value when it is a rational number."""
        if not self.top:
            return Fraction(0)
        if self.bottom == _ONE and len(self.top) == 1 and self.top[0][0] == ():
            return self.top[0][1]
        return None

    @property
    def atoms(self) -> frozenset[Atom]:
        terms = (*self.top, *self.bottom)
        return frozenset(atom for monomial, _ in terms for atom, _ in monomial)

    @property
    def symbols(self) -> frozenset[str]:
        """Free symbols, also those inside functions."""
        found: set[str] = set()
        for atom in self.atoms:
            if atom.rank == 3:
                found.add(atom.name)
            for inner in (atom.argument, atom.base):
                found |= inner.symbols if inner is not None else set()
        return frozenset(found)

    @property
    def key(self) -> str:
        top = _print(self.top)
        if self.bottom == _ONE:
            return top
        return f"({top})/({_print(self.bottom)})"


_ONE = (((), Fraction(1)),)
ZERO = Scalar((), _ONE)


def rational(value: Fraction | int) -> Scalar:
    value = Fraction(value)
    return Scalar((((), value),) if value else (), _ONE)


def from_atom(atom: Atom, exponent: Fraction = Fraction(1)) -> Scalar:
    return Scalar(((((atom, exponent),), Fraction(1)),), _ONE)


def symbol(name: str) -> Scalar:
    return from_atom(Atom(3, name))


def add(left: Scalar, right: Scalar, work: Work) -> Scalar:
    if left.bottom == right.bottom:
        return make(_plus(dict(left.top), dict(right.top)), dict(left.bottom), work)
    top = _plus(
        _times(dict(left.top), dict(right.bottom), work),
        _times(dict(right.top), dict(left.bottom), work),
    )
    return make(top, _times(dict(left.bottom), dict(right.bottom), work), work)


def multiply(left: Scalar, right: Scalar, work: Work) -> Scalar:
    return make(
        _times(dict(left.top), dict(right.top), work),
        _times(dict(left.bottom), dict(right.bottom), work),
        work,
    )


def negate(value: Scalar) -> Scalar:
    return Scalar(tuple((monomial, -c) for monomial, c in value.top), value.bottom)


def subtract(left: Scalar, right: Scalar, work: Work) -> Scalar:
    return add(left, negate(right), work)


def invert(value: Scalar, work: Work) -> Scalar:
    if not value.top:
        raise NotMath("undefined")
    return make(dict(value.bottom), dict(value.top), work)


def whole_power(value: Scalar, exponent: int, work: Work) -> Scalar:
    """An integer power; its size is known before it is taken."""
    if exponent < 0:
        return whole_power(invert(value, work), -exponent, work)
    if exponent == 0:
        return rational(1)
    exact = value.rational
    if exact is not None:
        bits = max(exact.numerator.bit_length(), exact.denominator.bit_length())
        if (bits > 1 or abs(exact) > 1) and bits * exponent > MAX_BITS:
            raise NotMath("too_complex")
        return rational(exact**exponent)
    if len(value.top) == 1 and value.bottom == _ONE:
        return _monomial_power(value, exponent, work)
    if exponent > MAX_POWER:
        raise NotMath("too_complex")
    terms = max(len(value.top), len(value.bottom))
    work.need(math.comb(exponent + terms - 1, exponent))
    result = rational(1)
    for bit in bin(exponent)[2:]:
        result = multiply(result, result, work)
        if bit == "1":
            result = multiply(result, value, work)
    return result


def _monomial_power(value: Scalar, exponent: int, work: Work) -> Scalar:
    ((monomial, coefficient),) = value.top
    result = whole_power(rational(coefficient), exponent, work)
    for atom, share in monomial:
        if atom.rank <= 1:
            raised = _radical(atom, share * exponent, work)
        else:
            raised = from_atom(atom, share * exponent)
        result = multiply(result, raised, work)
    return result


def _radical(atom: Atom, exponent: Fraction, work: Work) -> Scalar:
    """A power of a prime or of `i` in its one form."""
    if atom == IMAGINARY:
        turns = int(exponent) % 4
        sign = rational(-1 if turns >= 2 else 1)
        return multiply(sign, from_atom(IMAGINARY), work) if turns % 2 else sign
    whole = exponent.numerator // exponent.denominator
    if abs(whole) * atom.prime.bit_length() > MAX_BITS:
        raise NotMath("too_complex")
    outside = rational(Fraction(atom.prime) ** whole)
    rest = exponent - whole
    return multiply(outside, from_atom(atom, rest), work) if rest else outside


def factor(number: int, work: Work) -> dict[int, int] | None:
    """Prime factors of a positive integer; None when some factor is too large to be sure."""
    found: dict[int, int] = {}
    divisor = 2
    while divisor * divisor <= number and divisor < _TRIAL:
        if number % divisor == 0:
            number //= divisor
            found[divisor] = found.get(divisor, 0) + 1
        else:
            divisor += 1 if divisor == 2 else 2
    work.spend(1 + divisor // 50)
    if number > 1 and number > _TRIAL * _TRIAL:
        root = math.isqrt(number)
        if root * root != number or root > _TRIAL * _TRIAL:
            return None
        found[root] = found.get(root, 0) + 2
    elif number > 1:
        found[number] = found.get(number, 0) + 1
    return found


def prime(number: int) -> Atom:
    return Atom(0, f"{number:09d}", prime=number)


def make(top: Terms, bottom: Terms, work: Work) -> Scalar:
    """Reduce: no radicals below where that is possible, no common factor that division finds."""
    if not bottom:
        raise NotMath("undefined")
    if not top:
        return ZERO
    if bottom == ONE:
        return Scalar(_sorted(top), _ONE)
    if len(bottom) > 1 and all(atom.rank <= 1 for atom in _atoms(bottom)):
        top, bottom = _times(top, _inverse_of_radicals(bottom, work), work), ONE
    elif len(bottom) > 1:
        top, bottom = _cancel(top, bottom, work)
    if len(bottom) == 1:
        ((monomial, coefficient),) = bottom.items()
        top = _times(top, _inverse_of_monomial(monomial, coefficient, work), work)
        return Scalar(_sorted(top), _ONE)
    lead = _sorted(bottom)[0][1]
    return Scalar(
        _sorted({m: c / lead for m, c in top.items()}),
        _sorted({m: c / lead for m, c in bottom.items()}),
    )


def _inverse_of_monomial(monomial: Monomial, coefficient: Fraction, work: Work) -> Terms:
    result = rational(1 / coefficient)
    for atom, exponent in monomial:
        if atom.rank <= 1:
            raised = _radical(atom, -exponent if atom.rank == 0 else Fraction(3), work)
        else:
            raised = from_atom(atom, -exponent)
        result = Scalar(_sorted(_times(dict(result.top), dict(raised.top), work)), _ONE)
    return dict(result.top)


def _cancel(top: Terms, bottom: Terms, work: Work) -> tuple[Terms, Terms]:
    """Divide both by what they share: powers of an atom, all of the bottom, a common factor."""
    shared = _common_monomial([*top, *bottom])
    top, bottom = (_times(part, {shared: Fraction(1)}, work) for part in (top, bottom))
    atoms = sorted(_atoms(top) | _atoms(bottom))
    whole = all(e.denominator == 1 and e > 0 for m in (*top, *bottom) for _, e in m)
    if not whole or any(atom.rank <= 1 for atom in atoms):
        return top, bottom
    quotient, rest = _divide(top, bottom, atoms, work)
    if not rest:
        return quotient, ONE
    if len(atoms) == 1:
        one, other = bottom, rest
        while other:
            one, other = other, _divide(one, other, atoms, work)[1]
        top, bottom = (_divide(part, one, atoms, work)[0] for part in (top, bottom))
    return top, bottom


def _common_monomial(monomials: Iterable[Monomial]) -> Monomial:
    """What makes the smallest exponent of every atom zero, so that none is negative."""
    powers = [dict(monomial) for monomial in monomials]
    atoms = {atom for power in powers for atom in power if atom.rank > 1}
    least = {atom: min(power.get(atom, Fraction(0)) for power in powers) for atom in atoms}
    return tuple(sorted((atom, -least[atom]) for atom in atoms if least[atom]))


def _divide(top: Terms, bottom: Terms, atoms: list[Atom], work: Work) -> tuple[Terms, Terms]:
    """Quotient and rest by leading terms."""

    def rank(monomial: Monomial) -> tuple[Fraction, ...]:
        powers = dict(monomial)
        return tuple(powers.get(atom, Fraction(0)) for atom in atoms)

    lead = max(bottom, key=rank)
    quotient: dict[Monomial, Fraction] = {}
    rest = dict(top)
    while rest:
        head = max(rest, key=rank)
        difference = [a - b for a, b in zip(rank(head), rank(lead), strict=True)]
        if min(difference, default=Fraction(0)) < 0:
            break
        step = tuple((a, e) for a, e in zip(atoms, difference, strict=True) if e)
        share = rest[head] / bottom[lead]
        quotient[step] = share
        rest = dict(_plus(rest, _times(bottom, {step: -share}, work)))
    return quotient, rest


def _inverse_of_radicals(terms: Terms, work: Work) -> Terms:
    """1 / a sum of radicals: the linear system `terms · x = 1` over the products of its roots."""
    atoms = sorted(_atoms(terms))
    choices = []
    for atom in atoms:
        root = math.lcm(*(e.denominator for m in terms for a, e in m if a == atom))
        steps = 2 if atom == IMAGINARY else root
        choices.append([Fraction(k, 1 if atom == IMAGINARY else root) for k in range(steps)])
    if math.prod(map(len, choices)) > MAX_FIELD:
        raise NotMath("too_complex")
    basis = [
        tuple((a, e) for a, e in zip(atoms, exponents, strict=True) if e)
        for exponents in product(*choices)
    ]
    columns = [_times(terms, {monomial: Fraction(1)}, work) for monomial in basis]
    rows = [[c.get(m, Fraction(0)) for c in columns] + [Fraction(m == ())] for m in basis]
    solution = _solve(rows, work)
    return {m: x for m, x in zip(basis, solution, strict=True) if x}


def _solve(rows: list[list[Fraction]], work: Work) -> list[Fraction]:
    size = len(rows)
    for column in range(size):
        work.spend(size * size)
        pivot = next((r for r in range(column, size) if rows[r][column]), None)
        if pivot is None:
            raise NotMath("undefined")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = rows[column][column]
        rows[column] = [entry / scale for entry in rows[column]]
        for row in range(size):
            if row != column and (share := rows[row][column]):
                rows[row] = [a - share * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [row[-1] for row in rows]


def _plus(left: Terms, right: Terms) -> Terms:
    total = dict(left)
    for monomial, coefficient in right.items():
        sum_ = total.get(monomial, 0) + coefficient
        if sum_:
            total[monomial] = Fraction(sum_)
        else:
            total.pop(monomial, None)
    return total


def _times(left: Terms, right: Terms, work: Work) -> Terms:
    if right == ONE:
        return left
    total: dict[Monomial, Fraction] = {}
    for one, c in left.items():
        for other, d in right.items():
            monomial, outside = _join(one, other)
            coefficient = c * d * outside
            bits = max(coefficient.numerator.bit_length(), coefficient.denominator.bit_length())
            if bits > MAX_BITS:
                raise NotMath("too_complex")
            work.spend(1 + bits // 256)
            sum_ = total.get(monomial, 0) + coefficient
            if sum_:
                total[monomial] = Fraction(sum_)
            else:
                total.pop(monomial, None)
    return total


def _join(one: Monomial, other: Monomial) -> tuple[Monomial, Fraction]:
    """Product of two monomials, and the rational number that comes out of its radicals."""
    if not one or not other:
        return one or other, Fraction(1)
    powers, outside = dict(one), Fraction(1)
    for atom, exponent in other:
        total = powers.get(atom, Fraction(0)) + exponent
        if atom.rank == 0 and total >= 1:
            total -= 1
            outside *= atom.prime
        elif atom == IMAGINARY and total == 2:
            total, outside = Fraction(0), -outside
        if total:
            powers[atom] = total
        else:
            del powers[atom]
    return tuple(sorted(powers.items())), outside


def _atoms(terms: Terms) -> set[Atom]:
    return {atom for monomial in terms for atom, _ in monomial}


def _sorted(terms: Terms) -> tuple[tuple[Monomial, Fraction], ...]:
    """Terms in one order: more of a later atom first, so a polynomial reads `x^2+x+1`."""
    if len(terms) == 1:
        return tuple(terms.items())
    return tuple(sorted(terms.items(), key=_order))


def _order(term: tuple[Monomial, Fraction]) -> tuple[Fraction, list[tuple[int, str, Fraction]]]:
    degree = sum((e for a, e in term[0] if a.rank > 1), Fraction(0))
    return -degree, [(a.rank, a.name, -e) for a, e in term[0]]


def _print(terms: Iterable[tuple[Monomial, Fraction]]) -> str:
    text = ""
    for monomial, coefficient in terms:
        factors = [_print_power(atom, exponent) for atom, exponent in monomial]
        under = math.prod(a.prime for a, e in monomial if a.rank == 0 and e == Fraction(1, 2))
        factors = ([f"sqrt({under})"] if under > 1 else []) + [f for f in factors if f]
        size = abs(coefficient)
        if size != 1 or not factors:
            factors.insert(0, number_key(size))
        sign = "-" if coefficient < 0 else "+" if text else ""
        text += sign + "*".join(factors)
    return text or "0"


def _print_power(atom: Atom, exponent: Fraction) -> str:
    if atom.rank == 0:
        return "" if exponent == Fraction(1, 2) else f"{atom.prime}^({exponent})"
    if exponent == 1:
        return atom.name
    return f"{atom.name}^{exponent}" if exponent.denominator == 1 else f"{atom.name}^({exponent})"
