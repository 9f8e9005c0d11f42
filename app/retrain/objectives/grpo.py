"""`grpo`: group relative policy optimisation as published (2402.03300), with µ as the old policy.

Kept to compare against: dividing by each row's own length favours long wrong answers, dividing by
the spread favours prompts that are nearly always or never solved (2503.20783).
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
class Grpo:
    """L = (1/rows) Σᵢ (1/|yᵢ|) Σₜ −min(ρA, clip(ρ, 1 ± ε)A) + τ·k3, A standardised in its group."""

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "grpo"

    epsilon: Share = 0.2
    tau: NotNegative = 0.04
    """β of the paper. Its reference model is µ here."""
    kl: Penalty = "k3"
    entropy_bonus: NotNegative = 0.0
    comparison: Comparison = "standardised"

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        return compared(group, shaping, self.comparison)

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        ell = log_ratio(batch, logprobs)
        policy, flat = clipped(ell, batch.weighted, low=self.epsilon, high=self.epsilon)
        tokens = held(self, policy, batch, ell, entropy)
        rows = tokens.sum(1) / batch.completion.sum(1).clamp(min=1)
        return Loss(
            total=rows.sum() / denominators.rows,
            metrics={"clipped": share_of(flat, denominators)},
        )
