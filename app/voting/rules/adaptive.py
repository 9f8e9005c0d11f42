"""`adaptive`: Adaptive-Consistency (arXiv 2305.11860) with its published threshold.

With a and b votes for the two first answers, it stops when P(p > ½) ≥ .95 for p ~ Beta(a+1, b+1).
That is sure of the leader, not of its being right.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from math import comb

from app.group import Group, Tally

THRESHOLD = 0.95


class Adaptive:
    curtails = True

    def settled(self, group: Group) -> str | None:
        return "adaptive" if lead_probability(*top_two(group.tally)) >= THRESHOLD else None

    def needed(self, group: Group) -> int:
        first, second = top_two(group.tally)
        return next(k for k in count(1) if lead_probability(first + k, second) >= THRESHOLD)


@cache
def lead_probability(first: int, second: int) -> float:
    """P(p > ½) for p ~ Beta(first + 1, second + 1), exactly: both are whole numbers.

    It is the chance that of `first + second + 1` fair coins at most `first` show heads.
    """
    coins = first + second + 1
    return sum(comb(coins, heads) for heads in range(first + 1)) / (1 << coins)


def top_two(tally: Tally) -> tuple[int, int]:
    """Votes of the two first answers; 0 where there is none."""
    first, second, *_ = *(votes for _, votes in tally.votes[:2]), 0, 0
    return first, second
