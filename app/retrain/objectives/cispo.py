"""`cispo`: REINFORCE with a truncated importance weight (2506.13585).

Every token keeps a gradient, and nothing bounds how far worse samples are pushed down: on logged
data it learned fastest in one night and collapsed in the next. Use it with fresh samples.
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
    compared,
    held,
    log_ratio,
    share_of,
)
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Comparison, Shaping
from app.retrain.tensors import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Cispo:
    """L = −(1/N) Σ sg(min(ρ, cap))·q·A·log π, A centred, N the step's tokens."""

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "cispo"

    cap: Positive = 5.0
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
        ratio = ell.detach().exp()
        policy = -ratio.clamp(max=self.cap) * batch.weighted * logprobs
        tokens = held(self, policy, batch, ell, entropy)
        return Loss(
            total=tokens.sum() / denominators.tokens,
            metrics={"clipped": share_of(ratio > self.cap, denominators)},
        )
