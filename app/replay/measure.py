"""Numbers over questions, and how sure they are.

Questions are the unit: each is first averaged over its orders, then questions are drawn anew (a
percentile bootstrap), so more orders never make an interval narrower than the questions allow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

DRAWS = 1000
"""Bootstrap samples of an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over questions with its 95 % interval."""

    mean: float
    low: float
    high: float


def estimate(values: Sequence[float], *, seed: int) -> Estimate:
    """Of one value a question."""
    return _between(fmean(values), resample(values, seed=seed))


def estimate_pooled(groups: Sequence[Sequence[float]], *, seed: int) -> Estimate:
    """Of the mean over groups, each weighing the same; questions are drawn anew in each group."""
    drawn = [resample(values, seed=seed + number) for number, values in enumerate(groups)]
    means = [fmean(each) for each in zip(*drawn, strict=True)]
    return _between(fmean(map(fmean, groups)), means)


def resample(values: Sequence[float], *, seed: int) -> list[float]:
    """`DRAWS` means of as many values, drawn with replacement."""
    rng = random.Random(seed)
    return [fmean(rng.choices(values, k=len(values))) for _ in range(DRAWS)]


def _between(mean: float, means: Iterable[float]) -> Estimate:
    ordered = sorted(means)
    cut = round(0.025 * len(ordered))
    return Estimate(mean=mean, low=ordered[cut], high=ordered[-1 - cut])
