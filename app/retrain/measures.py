"""The numbers of the gate: each metric, and the primary one in each slice of the traffic."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.retrain.evidence import Outcome, Pair
from app.retrain.paired import RESAMPLES, Change, Difference, McNemar, differ

Number = Callable[[Outcome], float | bool | None]
METRICS: Mapping[str, Number] = {
    "pass_at_1": lambda o: o.pass_at_1,
    "vote": lambda o: o.voted,
    "verified": lambda o: o.verified,
    "greedy": lambda o: o.greedy,
    "hidden": lambda o: o.hidden,
    "tokens": lambda o: o.tokens,
}
"""What is measured of each prompt; all but tokens are 0..1 and better when higher."""
_BINARY = frozenset(("vote", "verified", "greedy"))
Both = Sequence[tuple[str, float, float]]
"""Cluster, the incumbent's number, the candidate's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One metric over the prompts where both policies have it."""

    incumbent: float
    candidate: float
    delta: float
    low: float
    high: float
    """Two-sided 95 % interval of `delta`, by the paired cluster bootstrap."""
    lower_99: float
    """One-sided lower 99 % bound."""
    p_better: float | None
    """One-sided p of "no better"; None for tokens, of which neither more nor less is better."""
    test: Literal["bootstrap", "mcnemar"]
    """Which test gave it: McNemar's needs right and wrong, and prompts that are no duplicates."""
    prompts: int
    clusters: int
    won: int | None = None
    lost: int | None = None
    """Prompts that exactly one policy got right, where they are right or wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceMeasure:
    """The primary metric in one part of the traffic."""

    dimension: str
    value: str
    """`other` pools the small ones."""
    prompts: int
    incumbent: float
    candidate: float
    delta: float
    low: float
    high: float
    """Two-sided 95 % interval of `delta`."""
    bound: float
    """One-sided lower 95 % bound."""
    decides: bool
    """False when even the pool is too small to decide anything."""


def measure(
    pairs: Sequence[Pair], metric: str, *, seed: int, resamples: int = RESAMPLES
) -> Measure | None:
    """None when no prompt has the metric for both policies."""
    both = both_of(pairs, metric)
    if not both:
        return None
    difference = _difference(both, seed=seed, resamples=resamples)
    low, high = difference.interval()
    binary = metric in _BINARY
    test = McNemar(
        won=sum(old < new for _, old, new in both), lost=sum(old > new for _, old, new in both)
    )
    exact = binary and difference.clusters == difference.prompts
    return Measure(
        incumbent=math.fsum(old for _, old, _ in both) / len(both),
        candidate=math.fsum(new for _, _, new in both) / len(both),
        delta=difference.delta,
        low=low,
        high=high,
        lower_99=difference.bound(0.01),
        p_better=_p_better(metric, test if exact else difference),
        test="mcnemar" if exact else "bootstrap",
        prompts=difference.prompts,
        clusters=difference.clusters,
        won=test.won if binary else None,
        lost=test.lost if binary else None,
    )


def _p_better(metric: str, test: McNemar | Difference) -> float | None:
    return None if metric == "tokens" else test.p_better


def measure_slices(
    pairs: Sequence[Pair],
    metric: str,
    *,
    min_prompts: int,
    seed: int,
    resamples: int = RESAMPLES,
) -> tuple[SliceMeasure, ...]:
    """A metric in each slice of each dimension; slices of fewer prompts are pooled."""
    parts: defaultdict[str, defaultdict[str, list[Pair]]]
    parts = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        for dimension, value in pair.incumbent.slices.items():
            parts[dimension][value].append(pair)
    found = []
    for dimension, by_value in sorted(parts.items()):
        large = {v: p for v, p in by_value.items() if len(p) >= min_prompts}
        pooled = [pair for v, those in by_value.items() if v not in large for pair in those]
        if pooled:
            large["other"] = large.get("other", []) + pooled
        for value, those in sorted(large.items()):
            both = both_of(those, metric)
            if both:
                difference = _difference(both, seed=seed, resamples=resamples)
                found.append(_slice(dimension, value, both, difference, min_prompts))
    return tuple(found)


def _slice(
    dimension: str, value: str, both: Both, difference: Difference, min_prompts: int
) -> SliceMeasure:
    low, high = difference.interval()
    return SliceMeasure(
        dimension=dimension,
        value=value,
        prompts=difference.prompts,
        incumbent=math.fsum(old for _, old, _ in both) / len(both),
        candidate=math.fsum(new for _, _, new in both) / len(both),
        delta=difference.delta,
        low=low,
        high=high,
        bound=difference.bound(0.05),
        decides=difference.clusters >= min_prompts,
    )


def both_of(pairs: Sequence[Pair], metric: str) -> Both:
    """The prompts that have the metric for both policies."""
    number = METRICS[metric]
    found = []
    for pair in pairs:
        old, new = number(pair.incumbent), number(pair.candidate)
        if old is not None and new is not None:
            found.append((pair.incumbent.cluster, float(old), float(new)))
    return found


def _difference(both: Both, *, seed: int, resamples: int) -> Difference:
    changes = [Change(cluster, new - old) for cluster, old, new in both]
    return differ(changes, seed=seed, resamples=resamples)
