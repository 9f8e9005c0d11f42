"""`certified`: the leader is the model's most frequent answer, with probability at least .95.

PPR-1v1 (arXiv 2109.05047) against every rival: with a votes for the leader and b for a rival, the
two are told apart at level δ when (a+b+1)·C(a+b, a) / 2^(a+b) ≤ δ. It holds at any time, so looking
after every sample costs nothing. The δ = .05 is shared equally among the rivals: the other choices
where the answer is one of a list, else the other answers seen, at least one. The certificate says
"most frequent", never "correct".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import comb

from app.group import Group, Tally
from app.voting.tally import can_vote

DELTA = 0.05


class Certified:
    curtails = True

    def settled(self, group: Group) -> str | None:
        certain = certified_level(group.tally, choices=_choices(group)) >= 1 - DELTA
        return "certified" if certain else None

    def needed(self, group: Group) -> int:
        rivals = _rivals(group.tally, _choices(group))
        first, second, *_ = *(votes for _, votes in group.tally.votes[:2]), 0, 0
        return next(k for k in count(1) if rivals * doubt(first + k, second) <= DELTA)


def certified_level(tally: Tally, *, choices: int = 0) -> float:
    """Confidence, 0..1, that the leader is the most frequent answer; 0 without a leader.

    `choices`: how many answers there can be; 0 when any text may be one.
    """
    if tally.leader is None:
        return 0.0
    counts = dict(tally.votes)
    first = counts.pop(tally.leader)
    worst = doubt(first, max(counts.values(), default=0))
    return max(0.0, 1.0 - _rivals(tally, choices) * worst)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was shown about the votes of a stage."""

    answer: str | None
    level: float
    """Confidence, 0..1, that `answer` is the model's most frequent one."""


def certificate(group: Group) -> Certificate:
    """The strongest one that was reached while the stage's samples arrived.

    It holds at any time, so what comes later may add to it and never takes it away.
    """
    counts: Counter[str] = Counter()
    best = Certificate(answer=None, level=0.0)
    for scored in group.current:
        key = scored.answer.key
        if key is None or not can_vote(scored):
            continue
        counts[key] += 1
        (leader, first), *others = counts.most_common(2)
        second = others[0][1] if others else 0
        rivals = max(1, _choices(group) - 1, len(counts) - 1)
        level = 1.0 - rivals * doubt(first, second)
        if level > best.level:
            best = Certificate(answer=leader, level=level)
    return best


@cache
def doubt(leader: int, rival: int) -> float:
    """The level at which the two counts are told apart: 1 / (prior-posterior ratio) at p = ½."""
    votes = leader + rival
    return (votes + 1) * comb(votes, leader) / (1 << votes)


def _rivals(tally: Tally, choices: int) -> int:
    return max(1, choices - 1, len(tally.votes) - 1)


def _choices(group: Group) -> int:
    return len(group.plan.contract.choices)
