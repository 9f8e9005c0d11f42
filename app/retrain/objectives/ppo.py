"""`ppo`: the clipped surrogate with a second bound for worse samples (1707.06347, 1912.09729).

Safe and slow on logged data: after a few steps most tokens are outside the bounds and stop
counting.
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
    Positive,
    Share,
    clipped,
    compared,
    held,
    log_ratio,
    share_of,
)
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Comparison, Shaping
from app.retrain.tensors import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Ppo:
    """L = (1/N) Σ −min(ρA, clip(ρ)A), for A < 0 −max(…, cap·A). A centred, N the step's tokens."""

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "ppo"

    epsilon_low: Share = 0.2
    epsilon_high: NotNegative = 0.28
    cap: Positive = 3.0
    """ρ counts as at most this where A < 0."""
    tau: NotNegative = 0.0
    kl: Penalty = "k2"
    entropy_bonus: NotNegative = 0.0
    comparison: Comparison = "centred"

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        return compared(group, shaping, self.comparison)

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        ell = log_ratio(batch, logprobs)
        policy, flat = clipped(
            ell, batch.weighted, low=self.epsilon_low, high=self.epsilon_high, cap=self.cap
        )
        tokens = held(self, policy, batch, ell, entropy)
        return Loss(
            total=tokens.sum() / denominators.tokens,
            metrics={"clipped": share_of(flat, denominators)},
        )
