"""Whether a learned score may decide, and how much of the traffic it may send to one sample.

A score is judged by points: tasks that were scored before their outcome was known, and whose groups
were drawn without asking the score (all of them while it only watches, the explored ones later).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

MIN_LABELS = 500
"""Labelled groups of the route before its score may decide."""
JUDGED_ON = 200
"""The newest points, on which the score must order tasks well enough."""
MIN_AUC = 0.65
LEAST_AUC = 0.6
"""A score that decides keeps doing so down to here: 200 points tell two scores apart no finer."""
EASIEST = 1 / 3
"""Share of the traffic that may be sent to one sample."""
SHARE_ON = 50
"""The newest points that say which scores are the easiest third's: they move while it learns."""
LOSS_ON = 500
"""The newest points that say what the easiest would have lost."""
SHARES = tuple(round(EASIEST * step / 10, 2) for step in range(10, 2, -1))
"""How much of the traffic may be sent to one sample, tried in this order."""


@dataclass(frozen=True, slots=True)
class Point:
    """One task that was scored before its outcome was known."""

    score: float
    gain: float
    """What voting gained over one sample, 0..1."""
    is_decisive: bool
    """A decisive verifier looks at the task: one sample loses nothing, it is refuted if wrong."""
    is_fair: bool
    """The group was drawn without asking the score, so that its like is not under-represented."""
    rank: float = 1.0
    """Share of the fair points of its kind just before it that scored lower; 1 while there were too
    few. The kind is whether a decisive verifier looks."""

    @property
    def loss(self) -> float:
        """What one sample would have lost."""
        return 0.0 if self.is_decisive else self.gain


def auc(points: Sequence[Point]) -> float | None:
    """P(a task that gained scores above one that did not), ties half; None without both kinds."""
    ranked = sorted(points, key=lambda point: point.score)
    gained = sum(point.gain > 0 for point in ranked)
    if gained in (0, len(ranked)):
        return None
    ranks, start = 0.0, 0
    while start < len(ranked):
        end = start
        while end < len(ranked) and ranked[end].score == ranked[start].score:
            end += 1
        ranks += (start + 1 + end) / 2 * sum(point.gain > 0 for point in ranked[start:end])
        start = end
    return (ranks - gained * (gained + 1) / 2) / (gained * (len(ranked) - gained))


def may_decide(points: Sequence[Point], labels: int, *, decides: bool) -> bool:
    """Whether the score may decide from here on; `decides`: whether it does so far."""
    judged = fair(points)[-JUDGED_ON:]
    if labels < MIN_LABELS or len(judged) < JUDGED_ON:
        return False
    reached = auc(judged)
    return reached is not None and reached >= (LEAST_AUC if decides else MIN_AUC)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Where a score lies among those of the newest tasks, and below where one sample is enough."""

    scores: tuple[float, ...]
    """Of the newest fair points of a kind, lowest first; empty while there are too few."""
    share: float
    """Tasks that rank below this are sent to one sample; 0: none is."""

    def rank(self, score: float) -> float:
        """Share of the newest that scored lower; 1 where there are too few."""
        return bisect_left(self.scores, score) / len(self.scores) if self.scores else 1.0


def rank_of(score: float, before: Sequence[Point], *, is_decisive: bool) -> float:
    """The rank of a score among the points before it."""
    return Ladder(_newest(before, is_decisive=is_decisive), 0.0).rank(score)


def ladder(points: Sequence[Point], max_loss: float, *, is_decisive: bool) -> Ladder:
    """What plans ask about tasks of one kind.

    Its share is the largest up to `EASIEST` such that the points which would have been sent by this
    very rule in their time lost no more than `max_loss` in their mean, a quarter of a loss assumed
    beforehand. What is known of tasks with a decisive verifier says nothing about those without.
    """
    known = [point for point in points if point.is_fair and point.is_decisive == is_decisive]
    scores = _newest(points, is_decisive=is_decisive)
    for share in SHARES if scores else ():
        sent = [point.loss for point in known[-LOSS_ON:] if point.rank < share]
        if (sum(sent) + 0.25) / (len(sent) + 1) <= max_loss:
            return Ladder(scores, share)
    return Ladder(scores, 0.0)


def _newest(points: Sequence[Point], *, is_decisive: bool) -> tuple[float, ...]:
    of_kind = (p for p in reversed(points) if p.is_fair and p.is_decisive == is_decisive)
    scores = sorted(point.score for point in islice(of_kind, SHARE_ON))
    return tuple(scores) if len(scores) == SHARE_ON else ()


def fair(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.is_fair]
