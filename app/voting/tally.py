"""Votes per answer: canonicalise first, then count.

A sample votes when it ended by itself, an answer was extracted, and no verifier refuted it.
Everything else costs and does not vote. Once a decisive verifier has passed a sample, only passing
samples vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.group import Scored, Tally
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


def tally_votes(group: Sequence[Scored]) -> Tally:
    """Count the votes. Independent of the order in which samples arrived."""
    proven = [scored for scored in group if is_proven(scored)]
    voters = proven or [scored for scored in group if can_vote(scored)]
    counts = Counter(s.answer.key for s in voters if s.answer.key is not None)
    votes = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    first = votes[0][1] if votes else 0
    second = votes[1][1] if len(votes) > 1 else 0
    return Tally(
        votes=votes,
        leader=votes[0][0] if votes and first > second else None,
        runner_up=votes[1][0] if len(votes) > 1 else None,
        margin=first - second,
    )
