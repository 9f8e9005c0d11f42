"""A logistic curve through labelled scores, fitted so that few labels are enough.

P(right | score) = σ(a + b·score) with the priors a ~ N(0, 1) and b ~ N(1, ½²): without labels the
score is believed as it is. The fit is the maximum a posteriori, by Newton's method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_PRECISION_B = 4.0
"""1 / ½²; that of `a` is 1."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Labels of answers of equal rank."""

    rank: float
    """The score, in logits."""
    right: int
    total: int


@dataclass(frozen=True, slots=True)
class Line:
    a: float
    b: float
    log_posterior: float
    """Up to a constant; comparable between fits on the same labels."""


def fit_line(cells: Sequence[Cell], *, min_steepness: float) -> Line:
    """The most likely line whose steepness is at least that."""
    line = _climb(cells, _line(cells, 0.0, 1.0), moves_b=True)
    if line.b < min_steepness:
        # The posterior is concave, so the best line inside the bound lies on it.
        line = _climb(cells, _line(cells, line.a, min_steepness), moves_b=False)
    return line


def sigmoid(z: float) -> float:
    """1 / (1 + e^−z), for any z."""
    if z >= 0:
        return 1 / (1 + math.exp(-z))
    grown = math.exp(z)
    return grown / (1 + grown)


def _climb(cells: Sequence[Cell], line: Line, *, moves_b: bool) -> Line:
    """Newton steps, halved until they go up; at most 50, which is far more than ever needed."""
    for _ in range(50):
        step_a, step_b = _step(cells, line, moves_b=moves_b)
        size = 1.0
        while (
            ahead := _line(cells, line.a + size * step_a, line.b + size * step_b)
        ).log_posterior < line.log_posterior:
            size /= 2
            if size < 1e-6:
                return line
        line = ahead
        if size * (abs(step_a) + abs(step_b)) < 1e-9:
            break
    return line


def _step(cells: Sequence[Cell], line: Line, *, moves_b: bool) -> tuple[float, float]:
    """Newton's step: gradient over curvature of the log posterior."""
    to_a, to_b = -line.a, -_PRECISION_B * (line.b - 1)
    aa, ab, bb = 1.0, 0.0, _PRECISION_B
    for cell in cells:
        p = sigmoid(line.a + line.b * cell.rank)
        miss, weight = cell.right - cell.total * p, cell.total * p * (1 - p)
        to_a, to_b = to_a + miss, to_b + miss * cell.rank
        aa, ab, bb = aa + weight, ab + weight * cell.rank, bb + weight * cell.rank**2
    if not moves_b:
        return to_a / aa, 0.0
    det = aa * bb - ab * ab
    return (bb * to_a - ab * to_b) / det, (aa * to_b - ab * to_a) / det


def _line(cells: Sequence[Cell], a: float, b: float) -> Line:
    likely = -(a * a + _PRECISION_B * (b - 1) ** 2) / 2
    for cell in cells:
        z = a + b * cell.rank
        # ln(1 + e^z) without overflow.
        likely += cell.right * z - cell.total * (max(z, 0.0) + math.log1p(math.exp(-abs(z))))
    return Line(a=a, b=b, log_posterior=likely)
