"""Rewards of a group → advantages: by how much each sample was better than its siblings.

Plain numbers, no tensors. Rewards may be shaped by length first; shaping never pays for length
itself, only for being too long or for taking longer than the siblings to be right.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

SAME = 1e-6
"""Rewards closer than this are equal: dividing by their spread would amplify rounding."""
STD_EPS = 1e-4
"""Added to the standard deviation, as DeepSeekMath's implementations do."""
PROCESS_SHARE = 0.5
"""What steps may add or take at most, as a share of the outcome's own advantage."""


def is_mixed(rewards: Sequence[float]) -> bool:
    """True when the samples differ; only then is there anything to learn from comparing them."""
    return len(rewards) > 1 and max(rewards) - min(rewards) > SAME


def centred(rewards: Sequence[float]) -> tuple[float, ...]:
    """Aᵢ = Rᵢ − mean(R). Zeros where the samples do not differ."""
    if not is_mixed(rewards):
        return (0.0,) * len(rewards)
    mean = statistics.fmean(rewards)
    return tuple(reward - mean for reward in rewards)


def standardised(rewards: Sequence[float]) -> tuple[float, ...]:
    """Aᵢ = (Rᵢ − mean(R)) / (std(R) + 1e-4), std with n − 1 (GRPO, 2402.03300).

    It gives prompts that are nearly always or nearly never solved the largest weights
    (2503.20783), which is why `centred` is the default elsewhere.
    """
    if not is_mixed(rewards):
        return (0.0,) * len(rewards)
    spread = statistics.stdev(rewards) + STD_EPS
    return tuple(advantage / spread for advantage in centred(rewards))


def soft_overlong(
    rewards: Sequence[float], lengths: Sequence[int], *, max_tokens: int, buffer_tokens: int
) -> tuple[float, ...]:
    """DAPO's punishment of overlong answers (2503.14476), added to each reward.

    0 up to `max_tokens` − `buffer_tokens`, then linear down to −1 at `max_tokens`, −1 beyond.
    """
    start = max_tokens - buffer_tokens
    return tuple(
        reward - min(1.0, max(0.0, (length - start) / buffer_tokens))
        for reward, length in zip(rewards, lengths, strict=True)
    )


def linear_length(rewards: Sequence[float], lengths: Sequence[int]) -> tuple[float, ...]:
    """Rᵢ − mean(R)·lenᵢ/max(len), as prime-rl does: the better the group, the more length costs.

    A group that is never right loses nothing by being long.
    """
    mean, longest = statistics.fmean(rewards), max(lengths)
    return tuple(
        reward - mean * length / longest for reward, length in zip(rewards, lengths, strict=True)
    )


def difficulty_weights(pass_rates: Sequence[float]) -> tuple[float, ...]:
    """Weight of each group ∝ p(1 − p), scaled to mean 1 (balanced filtering, 2504.03380).

    All ones where no group is mixed.
    """
    raw = [rate * (1 - rate) for rate in pass_rates]
    mean = statistics.fmean(raw) if raw else 0.0
    if mean <= SAME:
        return (1.0,) * len(raw)
    return tuple(value / mean for value in raw)


def with_steps(
    outcomes: Sequence[float],
    lengths: Sequence[int],
    scores: Sequence[Sequence[float]],
    ends: Sequence[Sequence[int]],
    *,
    weight: float,
) -> tuple[tuple[float, ...], ...]:
    """Advantages of every token: the sample's, and what its steps say beside it.

    `outcomes`, `lengths` (completion tokens), `scores` and `ends` go sample by sample. A step's
    score is centred over all steps of the group and holds from the end of the step before to its
    own; the tokens after the last step get the outcome alone. Where the places of the steps are not
    known (`ends` empty), their mean holds for the whole sample. What steps add is cut at half of
    the outcome's advantage, so right steps can never make a wrong answer worth repeating.
    """
    everything = [score for sample in scores for score in sample]
    if not everything:
        return tuple((a,) * n for a, n in zip(outcomes, lengths, strict=True))
    mean = statistics.fmean(everything)
    rows: list[tuple[float, ...]] = []
    for outcome, length, said, places in zip(outcomes, lengths, scores, ends, strict=True):
        limit = PROCESS_SHARE * abs(outcome)
        extra = [0.0] * length
        if said and not places:
            extra = [statistics.fmean(said) - mean] * length
        for (start, end), score in zip(pairwise((0, *places)), said, strict=False):
            extra[start:end] = [score - mean] * (end - start)
        rows.append(tuple(outcome + min(limit, max(-limit, weight * value)) for value in extra))
    return tuple(rows)
