"""`dpo`: prefer the better of two samples of one group (2305.18290), with µ as the reference.

One pair a group and no more: pairs of one prompt say much the same. Groups whose samples have no
µ cannot be used, because the reference model is never run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from app.retrain.advantages import is_mixed
from app.retrain.examples import TrainingGroup
from app.retrain.objectives.base import STRICT, Loss, NotNegative, Positive, log_ratio
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Shaping
from app.retrain.tensors import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpo:
    """L = −(1/pairs) Σ q·log σ(β(Σℓ of the better − Σℓ of the worse))."""

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "dpo"

    beta: Positive = 0.1
    sft: NotNegative = 0.0
    """Weight of −log π a token of the better one, against both growing unlikely together."""

    @property
    def entropy_bonus(self) -> float:
        return 0.0

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        """The first drawn with the highest reward against the first drawn with the lowest."""
        known = [example for example in group.examples if example.mu is not None]
        if not is_mixed([example.reward for example in known]):
            return []
        better = max(known, key=lambda example: example.reward)
        worse = min(known, key=lambda example: example.reward)
        return [(Pick(example=better, advantage=1.0), Pick(example=worse, advantage=-1.0))]

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        """Rows come in pairs, the better one first; a filling batch has none."""
        if not batch.completion.any():
            nothing = logprobs.sum() * 0.0
            return Loss(total=nothing, metrics={"preferred": nothing.detach()})
        pairs = denominators.rows / 2
        drift = log_ratio(batch, logprobs).sum(1)
        gap = drift[0::2] - drift[1::2]
        weights = batch.weights[0::2]
        total = -(weights * torch.nn.functional.logsigmoid(self.beta * gap)).sum()
        better = logprobs[0::2].sum(1) / batch.completion[0::2].sum(1)
        total = total - self.sft * (weights * better).sum()
        return Loss(
            total=total / pairs,
            metrics={"preferred": (gap > 0).sum().detach() / pairs},
        )
