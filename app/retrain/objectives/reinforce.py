"""`reinforce`: −A·log π on logged samples with no correction. For showing that the gate works.

It treats what an older policy drew as if the present one had, and pushes worse samples down
without bound. In the tiny experiment that this project rests on it regressed within two nights. A
night with it is expected to be refused; it is here so that this can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from app.retrain.examples import TrainingGroup
from app.retrain.objectives.base import STRICT, Loss, NotNegative, compared
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Comparison, Shaping
from app.retrain.tensors import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforce:
    """L = −(1/N) Σ q·A·log π, A centred, N the step's tokens."""

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "reinforce"

    entropy_bonus: NotNegative = 0.0
    comparison: Comparison = "centred"

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        return compared(group, shaping, self.comparison)

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        tokens = -batch.weighted * logprobs - self.entropy_bonus * entropy
        return Loss(total=tokens.sum() / denominators.tokens)
