"""`dapo`: mean over tokens and room to grow (DAPO, 2503.14476).

Its other two parts are elsewhere: groups without a difference are left out of every run, and the
punishment of overlong answers is `shaping.length = "soft_overlong"`.
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
class Dapo:
    """L = (1/N) Σ −min(ρA, clip(ρ, 1 − ε_low, 1 + ε_high)A), A standardised, N the step's tokens.

    The wider upper bound lets unlikely tokens of good answers grow.
    """

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "dapo"

    epsilon_low: Share = 0.2
    epsilon_high: NotNegative = 0.28
    tau: NotNegative = 0.0
    kl: Penalty = "k3"
    entropy_bonus: NotNegative = 0.0
    comparison: Comparison = "standardised"

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        return compared(group, shaping, self.comparison)

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        ell = log_ratio(batch, logprobs)
        policy, flat = clipped(ell, batch.weighted, low=self.epsilon_low, high=self.epsilon_high)
        tokens = held(self, policy, batch, ell, entropy)
        return Loss(
            total=tokens.sum() / denominators.tokens,
            metrics={"clipped": share_of(flat, denominators)},
        )
