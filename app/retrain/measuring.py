"""What a step adds up over micro-batches and processes, and what that comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from app.retrain.guards import MIN_WORSE_TOKENS, Measured
from app.retrain.objectives.base import log_ratio
from app.retrain.plan import Step
from app.retrain.tensors import Batch

_SUMS = ("loss", "entropy", "known", "square", "kl", "worse", "taper", "taper_square")


class Sums:
    """Sums of one step. Adding neither keeps a gradient nor waits for the device."""

    def __init__(self, device: Any) -> None:
        self._values = torch.zeros(len(_SUMS), dtype=torch.float64, device=device)
        self._objective: dict[str, Tensor] = {}

    def add(
        self,
        batch: Batch,
        logprobs: Tensor,
        entropy: Tensor,
        total: Tensor,
        metrics: Mapping[str, Tensor],
    ) -> None:
        known = batch.mu_known
        ell = log_ratio(batch, logprobs.detach())
        worse = known & (batch.advantages < 0)
        taper = torch.where(worse, ell.clamp(max=0.0).exp(), 0.0)
        parts = (
            total.detach(),
            entropy.detach().sum(),
            known.sum(),
            (ell * ell).sum(),
            torch.where(known, ell.exp() - 1 - ell, 0.0).sum(),
            worse.sum(),
            taper.sum(),
            (taper * taper).sum(),
        )
        self._values += torch.stack([part.to(torch.float64) for part in parts])
        for name, value in metrics.items():
            self._objective[name] = self._objective.get(name, 0.0) + value.to(torch.float64)

    def tensor(self) -> Tensor:
        """All sums, to be added over processes."""
        return torch.stack([*self._values, *(self._objective[n] for n in self._names())])

    def measured(
        self, total: Tensor, *, number: int, step: Step, grad_norm: float, lr: float
    ) -> Measured:
        """`total` is `tensor()` of all processes together."""
        values = total.tolist()
        said = dict(zip(_SUMS, values, strict=False))
        known, worse, square = said["known"], said["worse"], said["taper_square"]
        denominators = step.denominators
        return Measured(
            step=number,
            loss=said["loss"],
            reward=step.reward,
            entropy=said["entropy"] / denominators.tokens,
            m2=said["square"] / known if known else None,
            kl=said["kl"] / known if known else None,
            ess=said["taper"] ** 2 / (worse * square) if worse >= MIN_WORSE_TOKENS else None,
            grad_norm=grad_norm,
            lr=lr,
            tokens=denominators.tokens,
            rows=denominators.rows,
            groups=denominators.groups,
            objective=dict(zip(self._names(), values[len(_SUMS) :], strict=True)),
        )

    def _names(self) -> list[str]:
        return sorted(self._objective)
