"""`sft`: imitate the best verified sample of each group (RAFT, 2304.06767).

The safest of all and the start of the ladder: it cannot push anything down, needs no µ, and learns
from groups that are all right too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from app.retrain.examples import TrainingGroup
from app.retrain.objectives.base import (
    STRICT,
    Loss,
    NotNegative,
    Penalty,
    Share,
    held,
    log_ratio,
    verified,
)
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Shaping
from app.retrain.tensors import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sft:
    """L = −(1/N) Σ q·log π over the chosen samples' tokens, plus τ·½ℓ² where µ is known."""

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "sft"

    min_reward: Share = 1.0
    """What a sample has to earn to be worth imitating."""
    tau: NotNegative = 0.0
    kl: Penalty = "k2"
    entropy_bonus: NotNegative = 0.0

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        """One sample: the highest reward, the first drawn among equals.

        Any other tie-break, the shortest or the likeliest, would train a taste of its own.
        """
        good = verified(group, self.min_reward)
        if not good:
            return []
        best = max(good, key=lambda example: example.reward)
        return [(Pick(example=best, advantage=1.0),)]

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        ell = log_ratio(batch, logprobs)
        tokens = held(self, -batch.weighted * logprobs, batch, ell, entropy)
        return Loss(total=tokens.sum() / denominators.tokens)
