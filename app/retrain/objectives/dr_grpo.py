"""`dr_grpo`: GRPO without its two biases (Dr. GRPO, 2503.20783).

No division by the spread of the rewards, and one constant instead of each row's own length.
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
class DrGrpo:
    """L = (1/(rows·L_max)) Σ −min(ρA, clip(ρ, 1 ± ε)A) + τ·k3, A centred.

    L_max is the longest completion of the run, which a fixed log knows beforehand.
    """

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "dr_grpo"

    epsilon: Share = 0.2
    tau: NotNegative = 0.0
    kl: Penalty = "k3"
    entropy_bonus: NotNegative = 0.0
    comparison: Comparison = "centred"

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        return compared(group, shaping, self.comparison)

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        ell = log_ratio(batch, logprobs)
        policy, flat = clipped(ell, batch.weighted, low=self.epsilon, high=self.epsilon)
        tokens = held(self, policy, batch, ell, entropy)
        return Loss(
            total=tokens.sum() / (denominators.rows * denominators.longest),
            metrics={"clipped": share_of(flat, denominators)},
        )
