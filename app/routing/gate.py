"""Whether a learned score may decide, and how much of the traffic it may send to one sample.

A score is judged by points: tasks that were scored before their outcome was known, and whose groups
were drawn without asking the score (all of them while it only watches, the explored ones later).
"""

from __future__ import annotations

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
SHARES = tuple(EASIEST * step / 10 for step in range(10, 2, -1))
"""How much of the traffic may be sent to one sample, tried in this order."""


@dataclass(frozen=True, slots=True)
class Point:
    """One task that was scored before its outcome was known."""

    score: float
    gain: float
    """What voting gained over one sample, 0..1."""
    loss: float
    """What one sample would have lost: the gain, or nothing where a verifier would have seen it."""
    is_fair: bool
    """The group was drawn without asking the score, so that its like is not under-represented."""
    rank: float = 1.0
    """Share of the fair points just before it that scored lower; 1 while there were too few."""


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


def rank_of(score: float, before: Sequence[Point]) -> float:
    """Where a score lies among the newest fair points."""
    newest = list(islice((point for point in reversed(before) if point.is_fair), SHARE_ON))
    if len(newest) < SHARE_ON:
        return 1.0
    return sum(point.score < score for point in newest) / SHARE_ON


def cut(points: Sequence[Point], max_loss: float) -> float:
    """Tasks that score below this are sent to one sample; 0 sends none.

    It is the score that the largest possible share of the newest points lies below, up to
    `EASIEST`, such that the points which would have been sent by this very rule in their time lost
    no more than `max_loss` in their mean, half a loss assumed beforehand.
    """
    known = fair(points)
    newest = sorted(point.score for point in known[-SHARE_ON:])
    if len(newest) < SHARE_ON:
        return 0.0
    for share in SHARES:
        sent = [point.loss for point in known[-LOSS_ON:] if point.rank < share]
        if (sum(sent) + 0.5) / (len(sent) + 1) <= max_loss:
            return newest[int(share * SHARE_ON)]
    return 0.0


def fair(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.is_fair]
