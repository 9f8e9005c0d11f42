"""Places of marks in plots that templates draw: numbers in, percent or SVG units out.

Words stand beside the plots as text of the page, so a plot may stretch with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.ui.shown import show_number

CURVE_WIDTH, CURVE_HEIGHT = 300.0, 90.0
"""Units of a curve's own coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A scale from left to right, shared by the rows of a plot."""

    least: float
    most: float

    def place(self, value: float) -> float:
        """Percent from the left."""
        inside = min(max(value, self.least), self.most)
        return round(100 * (inside - self.least) / (self.most - self.least), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An interval with its middle, in percent of the axis."""

    low: float
    high: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One number over steps."""

    name: str
    help: str
    points: str
    """`x,y x,y …` in the curve's units."""
    dots: tuple[tuple[float, float, bool], ...]
    """x, y and whether it is filled, where points have to be told apart."""
    first: str
    last: str
    least: str
    most: str


def axis_around(values: Sequence[float], *, step: float) -> Axis:
    """A scale that holds all values and zero, with ends at multiples of `step`."""
    least = step * math.floor(min(0.0, *values) / step)
    most = step * math.ceil(max(0.0, *values) / step)
    return Axis(least=least, most=max(most, least + step))


def span(axis: Axis, low: float, high: float, at: float) -> Span:
    return Span(low=axis.place(low), high=axis.place(high), at=axis.place(at))


def curve(name: str, values: Sequence[float], *, help: str, filled: Sequence[bool] = ()) -> Curve:
    """At least one value. `filled` puts a dot at every point."""
    least, most = min(values), max(values)
    height = (most - least) or 1.0
    width = max(len(values) - 1, 1)
    points = [
        (
            round(CURVE_WIDTH * place / width, 1),
            round(CURVE_HEIGHT * (1 - (value - least) / height), 1),
        )
        for place, value in enumerate(values)
    ]
    return Curve(
        name=name,
        help=help,
        points=" ".join(f"{x:g},{y:g}" for x, y in points),
        dots=tuple((x, y, on) for (x, y), on in zip(points, filled, strict=False)),
        first=show_number(values[0]),
        last=show_number(values[-1]),
        least=show_number(least),
        most=show_number(most),
    )
