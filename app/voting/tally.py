"""Votes per answer: canonicalise first, then count.

A sample votes when it ended by itself, an answer was extracted, and no verifier refuted it.
Everything else costs and does not vote. Once a decisive verifier has passed a sample, only passing
samples vote.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from app.group import Tally
from app.plan import VoteWeights
from app.sample import Scored
from app.voting.scorers import weigh
from verifiers.compose import is_refuted, is_verified


def is_proven(scored: Scored) -> bool:
    """True when a decisive verifier passed, and every gate and policy, on a sample that ended."""
    return (
        bool(scored.verdicts)
        and scored.sample.finish_reason is not None
        and is_verified(scored.verdicts)
    )


def can_vote(scored: Scored) -> bool:
    """True when the sample's answer counts: it ended untruncated, said one thing, and stands."""
    return (
        scored.sample.finish_reason not in (None, "length", "content_filter")
        and not scored.sample.cancelled
        and scored.answer.key is not None
        and not (scored.verdicts and is_refuted(scored.verdicts))
    )


def tally_votes(group: Sequence[Scored], weights: VoteWeights | None = None) -> Tally:
    """Count the votes. Independent of the order in which samples arrived.

    `weights`: those of the plan. Proven samples weigh the same: nothing more can be said for them.
    """
    proven = [scored for scored in group if is_proven(scored)]
    voters = proven or [scored for scored in group if can_vote(scored)]
    counts = Counter(s.answer.key for s in voters if s.answer.key is not None)
    if weights is not None and not proven:
        return _weighed(voters, counts, weights)
    votes = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    first = votes[0][1] if votes else 0
    second = votes[1][1] if len(votes) > 1 else 0
    return Tally(
        votes=votes,
        leader=votes[0][0] if votes and first > second else None,
        runner_up=votes[1][0] if len(votes) > 1 else None,
        margin=first - second,
    )


def _weighed(voters: Sequence[Scored], counts: Counter[str], weights: VoteWeights) -> Tally:
    """The heaviest answer leads; `margin` still counts heads, and may be negative."""
    totals: defaultdict[str, list[float]] = defaultdict(list)
    for scored, weight in zip(voters, weigh(voters, weights), strict=True):
        totals[scored.answer.key or ""].append(weight)
    # Exact sums, rounded: the order of arrival must not decide between equals.
    heavy = {key: round(math.fsum(each), 9) for key, each in totals.items()}
    ranked = sorted(heavy.items(), key=lambda item: (-item[1], -counts[item[0]], item[0]))
    tally = Tally(
        votes=tuple((key, counts[key]) for key, _ in ranked),
        runner_up=ranked[1][0] if len(ranked) > 1 else None,
        margin=sum(sign * counts[key] for sign, (key, _) in zip((1, -1), ranked, strict=False)),
        weights=tuple(ranked),
    )
    return replace(tally, leader=ranked[0][0]) if tally.lead > 0 else tally
