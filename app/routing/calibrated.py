"""Score → expected gain, from points that were scored before their outcome was known.

Isotonic regression by pool-adjacent-violators where there are enough points; before that the means
of a few bins of equal size, each drawn towards the mean of all (beta-binomial with the prior worth
`PRIOR_POINTS`). Either way a higher score never means less gain, and the result is a few
breakpoints with straight lines between them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

ISOTONIC_FROM = 500
BINS = 5
PRIOR_POINTS = 10


@dataclass(frozen=True, slots=True)
class Breakpoints:
    """A function that never falls: `gains[i]` at `scores[i]`, level beyond both ends."""

    scores: tuple[float, ...]
    gains: tuple[float, ...]

    def at(self, score: float) -> float | None:
        """The expected gain at this score; None where nothing is known."""
        if not self.scores:
            return None
        right = bisect_left(self.scores, score)
        if right == 0:
            return self.gains[0]
        if right == len(self.scores):
            return self.gains[-1]
        left = right - 1
        width = self.scores[right] - self.scores[left]
        share = (score - self.scores[left]) / width if width else 1.0
        return self.gains[left] + share * (self.gains[right] - self.gains[left])

    def to_state(self) -> dict[str, Any]:
        return {"scores": list(self.scores), "gains": list(self.gains)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Breakpoints:
        """Raises KeyError or TypeError when the state is not of this form."""
        return cls(tuple(state["scores"]), tuple(state["gains"]))


def calibrate_gain(points: Iterable[tuple[float, float]]) -> Breakpoints:
    """`points`: score and gain (0..1) of each task, in any order."""
    ranked = sorted(points)
    if not ranked:
        return Breakpoints((), ())
    if len(ranked) >= ISOTONIC_FROM:
        cells = [
            _Cell(score, score, sum(gains), len(gains))
            for score, gains in (
                (score, [gain for _, gain in same])
                for score, same in groupby(ranked, key=lambda point: point[0])
            )
        ]
    else:
        cells = _bins(ranked)
    pooled = _pool(cells)
    scores, gains = [], []
    for cell in pooled:
        for score in dict.fromkeys((cell.first, cell.last)):
            scores.append(score)
            gains.append(cell.total / cell.count)
    return Breakpoints(tuple(scores), tuple(gains))


@dataclass(frozen=True, slots=True)
class _Cell:
    """Neighbours that are given one value."""

    first: float
    last: float
    total: float
    count: float

    def joined(self, after: _Cell) -> _Cell:
        return _Cell(self.first, after.last, self.total + after.total, self.count + after.count)


def _bins(ranked: Sequence[tuple[float, float]]) -> list[_Cell]:
    mean = sum(gain for _, gain in ranked) / len(ranked)
    size = max(1, -(-len(ranked) // BINS))
    cells = []
    for start in range(0, len(ranked), size):
        members = ranked[start : start + size]
        middle = members[len(members) // 2][0]
        total = sum(gain for _, gain in members) + PRIOR_POINTS * mean
        cells.append(_Cell(middle, middle, total, len(members) + PRIOR_POINTS))
    return cells


def _pool(cells: Sequence[_Cell]) -> list[_Cell]:
    """Join neighbours until the means never fall."""
    pooled: list[_Cell] = []
    for cell in cells:
        pooled.append(cell)
        while len(pooled) > 1 and _mean(pooled[-2]) >= _mean(pooled[-1]):
            last = pooled.pop()
            pooled.append(pooled.pop().joined(last))
    return pooled


def _mean(cell: _Cell) -> float:
    return cell.total / cell.count
