"""The numbers of one policy by itself: each metric with the interval of its mean.

Prompts are drawn again with their near-duplicates (a cluster bootstrap), so questions that look
alike do not make a number look surer than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.retrain.evidence import Outcome
from app.retrain.measures import METRICS
from app.retrain.paired import RESAMPLES, Change, differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric over the prompts that have it."""

    metric: str
    mean: float
    low: float
    high: float
    """Two-sided 95 % interval of `mean`."""
    prompts: int
    clusters: int


def estimate_all(
    outcomes: Sequence[Outcome], *, seed: int, resamples: int = RESAMPLES
) -> tuple[Estimate, ...]:
    """Each metric that any prompt has, in the order of `METRICS`."""
    found = (estimate(outcomes, name, seed=seed, resamples=resamples) for name in METRICS)
    return tuple(each for each in found if each is not None)


def estimate(
    outcomes: Sequence[Outcome], metric: str, *, seed: int, resamples: int = RESAMPLES
) -> Estimate | None:
    """None when no prompt has the metric."""
    number = METRICS[metric]
    known = [(o.cluster, value) for o in outcomes if (value := number(o)) is not None]
    if not known:
        return None
    # The mean itself is a difference from a policy that has 0 everywhere.
    mean = differ(
        [Change(cluster, float(value)) for cluster, value in known], seed=seed, resamples=resamples
    )
    low, high = mean.interval()
    return Estimate(
        metric=metric,
        mean=mean.delta,
        low=low,
        high=high,
        prompts=mean.prompts,
        clusters=mean.clusters,
    )
