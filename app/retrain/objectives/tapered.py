"""`tapered`, the default: samples of an older policy, pushed down only as far as that is safe.

Better samples weigh 1 however unlikely π finds them by now; worse ones weigh min(1, π/µ), so what
π has already given up is not pushed further (TOPR, 2503.14286). Unlike a clipped ratio it never
stalls on good samples, and unlike −A·log π it is bounded below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from app.retrain.examples import TrainingGroup
from app.retrain.objectives.base import (
    STRICT,
    Loss,
    NotNegative,
    Penalty,
    compared,
    held,
    log_ratio,
    share_of,
)
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Comparison, Shaping
from app.retrain.tensors import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapered:
    """L = −(1/N) Σ sg(w)·q·A·log π + (τ/N) Σ ½ℓ², N the completion tokens of the step.

    w = 1 where A > 0, else min(1, e^ℓ) · 1[mean ℓ of the row ≥ −δ].
    """

    __pydantic_config__ = STRICT

    name: ClassVar[str] = "tapered"

    taper: Literal["token", "sequence"] = "token"
    """`sequence` takes e^ℓ of the whole completion: TOPR as published. Past some hundred tokens it
    drops nearly every worse sample, which is why `token` is the default."""
    delta: NotNegative = 0.5
    """Worse samples count only while their mean ℓ is above −δ (OPSM)."""
    tau: NotNegative = 1e-3
    kl: Penalty = "k2"
    entropy_bonus: NotNegative = 0.0
    comparison: Comparison = "centred"

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        return compared(group, shaping, self.comparison)

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        ell = log_ratio(batch, logprobs)
        weight, dropped = self._weights(batch, ell.detach())
        policy = -weight * batch.weighted * logprobs
        tokens = held(self, policy, batch, ell, entropy)
        return Loss(
            total=tokens.sum() / denominators.tokens,
            metrics={"dropped": share_of(dropped, denominators)},
        )

    def _weights(self, batch: Batch, ell: Tensor) -> tuple[Tensor, Tensor]:
        """w (B, T), and the tokens of worse samples that δ leaves out."""
        length = batch.completion.sum(1, keepdim=True).clamp(min=1)
        whole = ell.sum(1, keepdim=True)
        drift = whole.expand_as(ell) if self.taper == "sequence" else ell
        worse = batch.advantages < 0
        far = (whole / length < -self.delta) & worse
        taper = torch.where(far, 0.0, drift.clamp(max=0.0).exp())
        return torch.where(worse, taper, 1.0), far
