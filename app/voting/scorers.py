"""What a scorer says of a sample, and what votes weigh by it.

Only the values' place within the question counts: a sample like the others of its question is worth
one vote, and `slope` votes more for each unit by which its value is above their mean. No vote is
worth under `LEAST` or over `MOST`: nobody outvotes more than four others, and three or more samples
that all agree weigh at least three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from app.plan import ScorerName, VoteWeights
from app.sample import Scored

LEAST, MOST = 0.5, 2.0


def value_of(scorer: ScorerName, scored: Scored) -> float | None:
    """What the scorer says of a sample, on its own scale; None when it does not know it."""
    sample = scored.sample
    if scorer == "length":
        return math.log(sample.completion_tokens) if sample.completion_tokens > 0 else None
    if scorer == "logprob":
        return fmean(sample.logprobs) if sample.logprobs else None
    scores = [v.score for v in scored.verdicts if v.score is not None and not v.decisive]
    return fmean(scores) if scores else None


def weigh(voters: Sequence[Scored], weights: VoteWeights) -> list[float]:
    """Votes of each voter; one where the scorer does not know it."""
    values = [value_of(weights.scorer, scored) for scored in voters]
    known = [value for value in values if value is not None]
    mean = fmean(known) if known else 0.0
    return [
        1.0 if value is None else max(LEAST, min(MOST, 1 + weights.slope * (value - mean)))
        for value in values
    ]
