"""Whether confidences mean what they say: of the answers called 80 % sure, are 80 % right?

Answers are put into ten bins of equal width by their confidence. Each bin shows its mean confidence
beside the share that was right, with the Wilson interval at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

BINS = 10
Z = 1.959964
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """One answer with the confidence that it was served with."""

    confidence: float
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The answers of one range of confidence; bins without answers are left out."""

    low: float
    high: float
    """The range: from `low`, to below `high` (the last bin includes 1)."""
    answers: int
    right: int
    confidence: float
    """Mean confidence of the answers."""
    share_low: float
    share_high: float
    """Where the share of right answers may lie."""

    @property
    def share(self) -> float:
        return self.right / self.answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Of at least one answer."""

    bins: tuple[Bin, ...]
    answers: int
    right: int
    brier: float
    """Mean squared distance of the confidence from 1 for right and 0 for wrong."""

    @property
    def calibration_error(self) -> float:
        """Mean distance of confidence and share over the bins, weighted by their answers (ECE)."""
        return sum(b.answers * abs(b.confidence - b.share) for b in self.bins) / self.answers

    @property
    def constant_brier(self) -> float:
        """What always saying the overall share would have scored: a confidence has to be lower."""
        share = self.right / self.answers
        return share * (1 - share)


def reliability_of(answers: Sequence[Believed]) -> Reliability | None:
    """None without answers."""
    if not answers:
        return None
    found: list[list[Believed]] = [[] for _ in range(BINS)]
    for answer in answers:
        found[min(int(answer.confidence * BINS), BINS - 1)].append(answer)
    return Reliability(
        bins=tuple(_bin(place, each) for place, each in enumerate(found) if each),
        answers=len(answers),
        right=sum(answer.right for answer in answers),
        brier=fmean((answer.confidence - answer.right) ** 2 for answer in answers),
    )


def wilson(right: int, total: int) -> tuple[float, float]:
    """The Wilson score interval of a share at 95 %."""
    share, weight = right / total, Z * Z / total
    centre = (share + weight / 2) / (1 + weight)
    half = Z * math.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    # The interval holds the share itself; by rounding it could miss 0 and 1.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def _bin(place: int, answers: Sequence[Believed]) -> Bin:
    right = sum(answer.right for answer in answers)
    low, high = wilson(right, len(answers))
    return Bin(
        low=place / BINS,
        high=(place + 1) / BINS,
        answers=len(answers),
        right=right,
        confidence=fmean(answer.confidence for answer in answers),
        share_low=low,
        share_high=high,
    )
