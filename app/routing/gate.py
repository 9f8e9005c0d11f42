"""Whether a learned score may decide, and how much of the traffic it may send to one sample.

A score is judged by points: tasks that were scored before their outcome was known, and whose groups
were drawn without asking the score (all of them while it only watches, the explored ones later).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_LABELS = 500
"""Labelled groups of the route before its score may decide."""
JUDGED_ON = 200
"""The newest points, on which the score must order tasks well enough."""
MIN_AUC = 0.65
LEAST_AUC = 0.6
"""A score that decides keeps doing so down to here: 200 points tell two scores apart no finer."""
EASIEST = 1 / 3
"""Share of the traffic that may be sent to one sample."""
CUT_ON = 500
"""The newest points, of which the easiest are looked at."""


@dataclass(frozen=True, slots=True)
class Point:
    """One task that was scored before its outcome was known."""

    score: float
    gain: float
    """What voting gained over one sample, 0..1."""
    is_fair: bool
    """The group was drawn without asking the score, so that its like is not under-represented."""


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


def cut(points: Sequence[Point], max_loss: float) -> float:
    """Tasks that score below this are sent to one sample; 0 sends none.

    It lies as high as possible with at most `EASIEST` of the newest points below it and no more
    than `max_loss` gain in their mean, where one full loss is assumed before the first is seen.
    """
    ranked = sorted(fair(points)[-CUT_ON:], key=lambda point: point.score)
    best, lost = 0.0, 1.0
    for count, point in enumerate(ranked[: int(EASIEST * len(ranked))], start=1):
        lost += point.gain
        above = ranked[count].score
        if above > point.score and lost / (count + 1) <= max_loss:
            best = above
    return best


def fair(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.is_fair]
