"""The confidence from which on answers may be served, so that few enough of them are wrong.

`max_error` is a promise about the answers of a route that are served without proof: with 95 %
confidence, their share of wrong ones is at most that. It is kept by serving only answers whose
confidence reaches a threshold, and the threshold is found on the route's last labels:

From the highest confidence downward, the hypothesis "of the answers from here on upward, more than
`max_error` are wrong" is put to the exact binomial test (the bound of Clopper and Pearson); the
first one that cannot be rejected ends the search, and the last one rejected is the threshold. Tests
in a fixed sequence need no correction for their number (Learn then Test, arXiv 2110.01052). The
sequence is fixed before any label is read, up to the choice between the orders of
`app.voting.confidence.UNANIMITY`, among which the 5 % are shared. It begins where a quarter of the
labels lie above, and so many that one wrong answer alone does not end it: a handful at the very top
would end most searches by bad luck.

The promise holds for answers like those that were labelled. It says nothing where people label
mostly what looks wrong (then it is too strict) or mostly what looks right (then it is broken).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from app.voting.confidence import UNANIMITY, Calibration
from app.voting.logistic import Cell

LEVEL = 0.05 / len(UNANIMITY)
"""Chance to promise too much, for each order."""
FIRST_SHARE = 0.25
"""Share of the labels that the first test looks at, at least."""


def threshold(calibration: Calibration | None, max_error: float) -> float | None:
    """The lowest confidence that keeps the promise; None while nothing keeps it."""
    if calibration is None:
        return None
    rank = _lowest_rank(calibration.ladder, max_error)
    return None if rank is None else calibration.probability(rank)


@lru_cache(maxsize=1024)
def _lowest_rank(ladder: Sequence[Cell], max_error: float) -> float | None:
    labels = sum(cell.total for cell in ladder)
    enough = max(labels * FIRST_SHARE, _labels_for_one_wrong(max_error, at_most=labels))
    wrong = total = 0
    lowest = None
    for cell in ladder:
        total += cell.total
        wrong += cell.total - cell.right
        if total < enough:
            continue
        if not is_rejected(wrong, total, max_error):
            break
        lowest = cell.rank
    return lowest


def is_rejected(wrong: int, total: int, max_error: float) -> bool:
    """Whether an error rate above `max_error` is refuted by so few wrong ones."""
    return _binomial_cdf(wrong, total, max_error) <= LEVEL


def _labels_for_one_wrong(max_error: float, *, at_most: int) -> int:
    """How many labels refute a too high error rate although one is wrong; with fewer labels than
    that in all, how many do when none is."""
    for wrong in (1, 0):
        for total in range(wrong, at_most + 1):
            if is_rejected(wrong, total, max_error):
                return total
    return at_most + 1


def _binomial_cdf(k: int, n: int, p: float) -> float:
    """P(at most k of n). Exact; `p` = 0 and 1 included."""
    if k >= n:
        return 1.0
    if p <= 0.0:
        return 1.0
    if p >= 1.0:
        return 0.0
    log_odds = math.log(p) - math.log1p(-p)
    log_term = n * math.log1p(-p)
    total = 0.0
    for i in range(k + 1):
        total += math.exp(log_term)
        log_term += math.log((n - i) / (i + 1)) + log_odds
    return min(1.0, total)
