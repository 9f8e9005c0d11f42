"""When a run must stop: bounds on what every step measures. Pure.

A step is measured before its update, so what trips a bound is the weights that the steps before
left behind. The caller stops there and goes back to the newest checkpoint that is older.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ConfigDict

WINDOW = 5
"""Steps whose mean entropy is compared: single steps differ by their prompts."""
SETTLED = 10
"""Steps before the gradient's median means anything."""
MIN_WORSE_TOKENS = 32
"""Tokens of worse samples before their effective sample size means anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds; None turns one off. Starting values for language models of a billion and more: a
    model of a million parameters learns well with an M2 of 0.5."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    m2_alarm: float | None = 0.04
    m2_stop: float | None = 0.1
    """Mean ℓ² over tokens with a known µ (M2PO, 2510.01161)."""
    ess_stop: float | None = 0.3
    """Least effective share of the taper's weights min(1, e^ℓ) over tokens of worse samples."""
    entropy_drop: float | None = 0.5
    """Share of the first steps' entropy that may be lost."""
    grad_spike: float | None = 5.0
    """Times the median gradient norm so far."""
    kl_budget: float | None = None
    """KL(µ‖π) a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One step, over all its rows and processes, before its update."""

    step: int
    """From 0: also the number of updates that the measured weights have had."""
    loss: float
    reward: float
    """Mean of the rows as logged: it says what the step saw, not how good π is."""
    entropy: float
    """Nats a completion token."""
    m2: float | None
    """Mean ℓ²; None without a token whose µ is known."""
    kl: float | None
    """KL(µ‖π) a token, from µ's own samples: mean of e^ℓ − 1 − ℓ."""
    ess: float | None
    """(Σw)²/(n·Σw²) with w = min(1, e^ℓ) over tokens of worse samples; None with few of them."""
    grad_norm: float
    """Before clipping."""
    lr: float
    tokens: int
    """Completion tokens."""
    rows: int
    groups: int
    seconds: float = 0.0
    tokens_per_s: float = 0.0
    """Prompt and completion tokens, all processes."""
    objective: Mapping[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Guards:
    """The bounds and the little history that they need."""

    limits: Limits
    entropies: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)

    def check(self, measured: Measured) -> str:
        """Why to stop before this step's update; empty to go on."""
        if not (math.isfinite(measured.loss) and math.isfinite(measured.grad_norm)):
            return f"the loss is {measured.loss} and the gradient's norm {measured.grad_norm}"
        reason = self._far(measured) or self._entropy(measured) or self._gradient(measured)
        self.entropies.append(measured.entropy)
        self.grad_norms.append(measured.grad_norm)
        return reason

    def alarms(self, measured: Measured) -> tuple[str, ...]:
        """What deserves a look and does not stop the run."""
        limit = self.limits.m2_alarm
        if limit is not None and measured.m2 is not None and measured.m2 > limit:
            return (f"M2 {measured.m2:.4g} is above {limit:g}",)
        return ()

    def _far(self, measured: Measured) -> str:
        limits = self.limits
        if limits.m2_stop is not None and measured.m2 is not None and measured.m2 > limits.m2_stop:
            return f"M2 {measured.m2:.4g} is above guards.m2_stop {limits.m2_stop:g}"
        if (
            limits.kl_budget is not None
            and measured.kl is not None
            and measured.kl > limits.kl_budget
        ):
            return f"KL {measured.kl:.4g} is above guards.kl_budget {limits.kl_budget:g}"
        if (
            limits.ess_stop is not None
            and measured.ess is not None
            and measured.ess < limits.ess_stop
        ):
            return f"ESS {measured.ess:.4g} is below guards.ess_stop {limits.ess_stop:g}"
        return ""

    def _entropy(self, measured: Measured) -> str:
        limit = self.limits.entropy_drop
        known = [*self.entropies, measured.entropy]
        if limit is None or len(known) < 2 * WINDOW:
            return ""
        first, last = statistics.fmean(known[:WINDOW]), statistics.fmean(known[-WINDOW:])
        if last >= (1 - limit) * first:
            return ""
        return (
            f"entropy fell from {first:.4g} to {last:.4g}, "
            f"by more than guards.entropy_drop {limit:g}"
        )

    def _gradient(self, measured: Measured) -> str:
        limit = self.limits.grad_spike
        if limit is None or len(self.grad_norms) < SETTLED:
            return ""
        median = statistics.median(self.grad_norms)
        if measured.grad_norm <= limit * median:
            return ""
        return (
            f"the gradient's norm {measured.grad_norm:.4g} is above guards.grad_spike {limit:g} "
            f"times its median {median:.4g}"
        )
