"""Two policies on the same prompts: how large is the difference, and could it be luck?

Prompts are drawn with their near-duplicates, so everything is counted by cluster: a bootstrap that
draws clusters (Miller, 2411.00640) for any number a prompt has, and McNemar's exact test for right
and wrong. Plain Python; ten thousand resamples of a thousand clusters take about a second.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from statistics import NormalDist

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """What one prompt says: the candidate's number minus the incumbent's."""

    cluster: str
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The mean change over prompts, and how sure it is."""

    prompts: int
    clusters: int
    delta: float
    resampled: tuple[float, ...]
    """Mean changes of the bootstrap's resamples, rising."""

    def bound(self, level: float) -> float:
        """The quantile of the resamples: `bound(.05)` is the one-sided lower 95 % bound."""
        place = math.floor(level * len(self.resampled))
        return self.resampled[min(max(place, 0), len(self.resampled) - 1)]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided, by percentiles."""
        tail = (1 - level) / 2
        return self.bound(tail), self.bound(1 - tail)

    @property
    def p_better(self) -> float:
        """One-sided p of "no better": the share of resamples at or below zero, never 0."""
        below = sum(value <= 0 for value in self.resampled)
        return (below + 1) / (len(self.resampled) + 1)


def differ(changes: Sequence[Change], *, seed: int, resamples: int = RESAMPLES) -> Difference:
    """Paired cluster bootstrap of the mean change. At least one change."""
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for change in changes:
        sums[change.cluster].append(change.delta)
    totals = [math.fsum(deltas) for deltas in sums.values()]
    sizes = [len(deltas) for deltas in sums.values()]
    return Difference(
        prompts=len(changes),
        clusters=len(totals),
        delta=math.fsum(totals) / len(changes),
        resampled=tuple(sorted(_resample(totals, sizes, random.Random(seed), resamples))),
    )


def _resample(
    totals: Sequence[float], sizes: Sequence[int], rng: random.Random, resamples: int
) -> list[float]:
    """Means over clusters drawn with replacement, as many as there are."""
    count = len(totals)
    if max(sizes) == 1:
        return [sum(rng.choices(totals, k=count)) / count for _ in range(resamples)]
    clusters, means = list(zip(totals, sizes, strict=True)), []
    for _ in range(resamples):
        drawn = rng.choices(clusters, k=count)
        means.append(sum(map(itemgetter(0), drawn)) / sum(map(itemgetter(1), drawn)))
    return means


@dataclass(frozen=True, slots=True)
class McNemar:
    """Prompts on which exactly one of two policies is right."""

    won: int
    """Incumbent wrong, candidate right (b01)."""
    lost: int
    """Incumbent right, candidate wrong (b10)."""

    @property
    def p_better(self) -> float:
        """One-sided exact p of "no better": P(X ≥ won), X ~ Binomial(won + lost, ½)."""
        return _upper_tail(self.won, self.won + self.lost)

    @property
    def p_differs(self) -> float:
        """Two-sided exact p."""
        most = max(self.won, self.lost)
        return min(1.0, 2 * _upper_tail(most, self.won + self.lost))


def _upper_tail(least: int, trials: int) -> float:
    """P(X ≥ least) for X ~ Binomial(trials, ½); exact integers until the last division."""
    ways = math.comb(trials, least)
    total = 0
    for k in range(least, trials + 1):
        total += ways
        ways = ways * (trials - k) // (k + 1)
    return total / (1 << trials)


def prompts_needed(
    delta: float, discordant: float, *, alpha: float = 0.01, power: float = 0.8
) -> int:
    """Prompts for a one-sided McNemar test to find a difference of `delta` with this power.

    `discordant` is the share of prompts on which the policies differ; at least `delta`. Connor's
    formula for independent prompts: (z₁₋ₐ·√d + z_power·√(d − δ²))² / δ².
    """
    if not 0 < delta <= discordant <= 1:
        raise ValueError(f"0 < delta <= discordant <= 1 does not hold for {delta}, {discordant}")
    z = NormalDist().inv_cdf
    width = z(1 - alpha) * math.sqrt(discordant)
    width += z(power) * math.sqrt(discordant - delta * delta)
    return math.ceil((width / delta) ** 2)


def smallest_found(
    prompts: int, discordant: float, *, alpha: float = 0.01, power: float = 0.8
) -> float | None:
    """The difference that so many prompts find with this power, to a tenth of a point.

    None when not even the whole of `discordant` would be found.
    """
    for tenth in range(1, math.floor(discordant * 1_000) + 1):
        if prompts_needed(tenth / 1_000, discordant, alpha=alpha, power=power) <= prompts:
            return tenth / 1_000
    return None
