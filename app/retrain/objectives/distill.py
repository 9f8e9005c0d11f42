"""`distill`: imitate every verified answer of a larger engine.

What another model drew says nothing about our π, so µ is never read and nothing is pushed down.
Texts of engines without token ids are tokenised by the trainer with the base model's own template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from app.retrain.examples import TrainingGroup
from app.retrain.objectives.base import STRICT, Loss, NotNegative, Share, verified
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Shaping
from app.retrain.tensors import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Distill:
    """L = −(1/N) Σ q·log π over all tokens of verified samples."""

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "distill"

    min_reward: Share = 1.0
    entropy_bonus: NotNegative = 0.0

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        good = verified(group, self.min_reward)
        return [(Pick(example=example, advantage=1.0),) for example in good]

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        tokens = -batch.weighted * logprobs - self.entropy_bonus * entropy
        return Loss(total=tokens.sum() / denominators.tokens)
