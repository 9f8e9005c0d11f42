"""What objectives share: the protocol, ℓ = log π/µ, and the terms that hold π near µ.

Objectives see rows and tensors, never a model. A total is divided by the denominators of the
whole step, so the totals of micro-batches and processes add up to the step's loss however the
rows were split. Axes: B rows, T positions (`app/retrain/tensors.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from app.retrain.advantages import SAME
from app.retrain.examples import Example, TrainingGroup
from app.retrain.plan import Denominators, Pick
from app.retrain.shaping import Comparison, Shaping, compare
from app.retrain.tensors import Batch

FAR = 20.0
"""ℓ is cut at ±20: e²⁰ is beyond any use and still well inside float32."""

STRICT = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)
"""For options of objectives: unknown names are errors."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Penalty = Literal["k1", "k2", "k3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Of one micro-batch."""

    total: Tensor
    """(): to be minimised."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """(): parts of a step's figure, which add up over micro-batches like the total."""


class Objective(Protocol):
    """A way to learn from groups: which rows take part with what weight, and the loss."""

    name: ClassVar[str]

    @property
    def entropy_bonus(self) -> float:
        """Above 0 the loss needs a gradient of the entropy."""
        ...

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        """The samples that take part, in units that stay together; none when there is nothing
        to learn from the group."""
        ...

    def loss(
        self, batch: Batch, logprobs: Tensor, entropy: Tensor, denominators: Denominators
    ) -> Loss:
        """`logprobs` and `entropy` are (B, T), 0 outside the completions."""
        ...


def compared(
    group: TrainingGroup, shaping: Shaping, comparison: Comparison
) -> list[tuple[Pick, ...]]:
    """Every sample with its advantage, for objectives that push good ones up and bad ones down.

    Without µ nothing bounds how far a sample is pushed down, so such samples only serve where
    they are better than their siblings.
    """
    picks = compare(group, shaping, comparison)
    return [(pick,) for pick in picks if pick.example.mu is not None or pick.lowest >= 0]


def verified(group: TrainingGroup, min_reward: float) -> list[Example]:
    """Samples worth imitating, in drawing order."""
    return [example for example in group.examples if example.reward >= min_reward - SAME]


def log_ratio(batch: Batch, logprobs: Tensor) -> Tensor:
    """ℓ = log π − log µ (B, T), cut at ±20; 0 outside the completions.

    Where µ is not known ℓ is 0 with the gradient of log π: the sample counts as freshly drawn.
    """
    anchor = torch.where(batch.mu_known, batch.mu, logprobs.detach())
    return (logprobs - anchor).clamp(-FAR, FAR)


def penalty(ell: Tensor, kind: Penalty) -> Tensor:
    """What π pays for leaving µ, a token. Schulman's three estimators of KL(π‖µ).

    k1 = ℓ: right in the mean, but as a loss its gradient has mean zero on-policy. It is here
    because the originals offer it. k2 = ½ℓ²: its gradient is that of the KL itself on-policy.
    k3 = e^−ℓ + ℓ − 1: never negative, and steep where π has left a token that µ liked.
    """
    if kind == "k1":
        return ell
    if kind == "k2":
        return 0.5 * ell * ell
    return torch.exp(-ell) + ell - 1


class Holds(Protocol):
    """An objective that keeps π near µ and may keep it from getting too sure."""

    @property
    def tau(self) -> float: ...
    @property
    def kl(self) -> Penalty: ...
    @property
    def entropy_bonus(self) -> float: ...


def held(by: Holds, policy: Tensor, batch: Batch, ell: Tensor, entropy: Tensor) -> Tensor:
    """Loss of every token (B, T): `policy`, plus τ·penalty where µ is known, minus the bonus."""
    loss = policy
    if by.tau > 0:
        loss = loss + by.tau * torch.where(batch.mu_known, penalty(ell, by.kl), 0.0)
    if by.entropy_bonus > 0:
        loss = loss - by.entropy_bonus * entropy
    return loss


def clipped(
    ell: Tensor, advantages: Tensor, *, low: float, high: float, cap: float | None = None
) -> tuple[Tensor, Tensor]:
    """PPO's surrogate (B, T): −min(ρA, clip(ρ, 1 − low, 1 + high)·A), and where it is flat.

    With `cap`, ρ counts as at most that much where A < 0 (dual clip, 1912.09729): a token that π
    likes far better than µ did is not pushed down without bound.
    """
    ratio = ell.exp()
    inside = ratio.clamp(1 - low, 1 + high)
    worst = torch.minimum(ratio * advantages, inside * advantages)
    flat = ((ratio > 1 + high) & (advantages > 0)) | ((ratio < 1 - low) & (advantages < 0))
    if cap is not None:
        bounded = torch.maximum(worst, cap * advantages)
        flat = flat | ((advantages < 0) & (ratio > cap))
        worst = torch.where(advantages < 0, bounded, worst)
    return -worst, flat


def share_of(tokens: Tensor, denominators: Denominators) -> Tensor:
    """() the share of a step's completion tokens for which `tokens` (B, T) holds."""
    return tokens.sum().detach() / denominators.tokens
