"""Numbers over questions, and how sure they are.

Questions are the unit: each is first averaged over its orders, then questions are drawn anew (a
percentile bootstrap), so more orders never make an interval narrower than the questions allow.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

DRAWS = 1000
"""Bootstrap samples of an interval."""


BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """One answer with the confidence that it would have been served with."""

    confidence: float
    right: bool


def calibration_error(answers: Sequence[Believed]) -> float:
    """Expected calibration error: over `BINS` bins of equal width, the distance of the mean
    confidence from the share that is right, weighted by the answers in the bin."""
    bins: dict[int, list[Believed]] = defaultdict(list)
    for answer in answers:
        bins[min(int(answer.confidence * BINS), BINS - 1)].append(answer)
    gaps = (abs(sum(a.confidence - a.right for a in each)) for each in bins.values())
    return sum(gaps) / len(answers)


def brier(answers: Sequence[Believed]) -> float:
    """Mean squared distance of the confidence from 1 for right and 0 for wrong."""
    return fmean((answer.confidence - answer.right) ** 2 for answer in answers)


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
