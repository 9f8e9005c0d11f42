"""A share of the traffic tries the new policy: go on, promote, or roll back?

Requests are sent to the canary at random with probability `share`. So as long as both policies fail
equally often, each failure is the canary's with exactly that probability, however the day's
difficulty moves; if the canary fails ρ times as often, with probability share·ρ / (share·ρ + 1 −
share). Wald's sequential test between ρ = 1 and ρ = `worst_ratio` on the failures alone therefore
needs no steady failure rate, and may be asked after every failure or once a minute: the answer
depends on the counts only.

By Ville's inequality a canary that is no worse is rolled back by the test with probability at most
`alpha`, and one that is `worst_ratio` times as bad or worse is promoted by it with probability at
most `beta`. A test that is undecided when its requests are used up takes the likelier of the two;
the gate has already found the policy better. Not for traffic that is assigned by anything but
chance, such as by tenant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Step = Literal["go_on", "promote", "roll_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """How the share is judged."""

    share: float = 0.05
    """Probability that a request is sent to the canary."""
    worst_ratio: float = 1.5
    """Failing this many times as often as the incumbent must not pass."""
    alpha: float = 0.01
    """Chance of rolling back a policy that is no worse."""
    beta: float = 0.05
    """Chance of promoting one that is `worst_ratio` times as bad."""
    min_requests: int = 100
    """Of the canary, before it can be promoted; rolling back waits for nothing."""
    max_requests: int = 2_000
    """Of the canary; then it is decided."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must be between 0 and 1, not {self.share!r}")
        if not self.worst_ratio > 1:
            raise ValueError(f"worst_ratio must be above 1, not {self.worst_ratio!r}")
        if not (0 < self.alpha < 1 and 0 < self.beta < 1):
            raise ValueError("alpha and beta must be between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryCounts:
    """What happened while both policies served. A failure is an answer that verifiers refuted or
    that could not be given."""

    canary_requests: int = 0
    canary_failures: int = 0
    incumbent_requests: int = 0
    incumbent_failures: int = 0


def canary_step(counts: CanaryCounts, settings: CanarySettings) -> Step:
    """What to do now."""
    evidence = log_evidence(counts, settings)
    if evidence >= -math.log(settings.alpha):
        return "roll_back"
    enough = counts.canary_requests >= settings.min_requests
    if enough and evidence <= math.log(settings.beta):
        return "promote"
    if counts.canary_requests < settings.max_requests:
        return "go_on"
    return "roll_back" if evidence > 0 else "promote"


def log_evidence(counts: CanaryCounts, settings: CanarySettings) -> float:
    """ln of how much likelier the failures are if the canary fails `worst_ratio` times as often."""
    equal = settings.share
    worse = equal * settings.worst_ratio / (equal * settings.worst_ratio + 1 - equal)
    return counts.canary_failures * math.log(worse / equal) + counts.incumbent_failures * math.log(
        (1 - worse) / (1 - equal)
    )


def explain_step(counts: CanaryCounts, settings: CanarySettings) -> str:
    """The counts and what they say, for people."""
    rates = [
        f"{failures} of {requests}" + (f" ({failures / requests:.1%})" if requests else "")
        for failures, requests in (
            (counts.canary_failures, counts.canary_requests),
            (counts.incumbent_failures, counts.incumbent_requests),
        )
    ]
    odds = math.exp(min(log_evidence(counts, settings), 700))
    return (
        f"{canary_step(counts, settings)}: the canary failed {rates[0]}, the incumbent {rates[1]}; "
        f"the failures are {odds:.3g} times as likely if the canary fails "
        f"{settings.worst_ratio:g} times as often"
    )
