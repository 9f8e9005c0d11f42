"""How a task will be answered: the plan, the reasons for it, and the rounds drawn by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.task import RuleName
from verifiers.base import AnswerContract, Role

Route = Literal["off", "easy", "hard"]
Reuse = Literal["exact", "near"]
"""Whether a verified answer may serve equal requests only, or also be checked for near ones."""
ScorerName = Literal["length", "logprob", "verifiers"]
"""What may weigh a vote: its completion tokens, its mean logprob, its verifiers' mean score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One feature of the routing decision and what it added to the score."""

    feature: str
    value: float | str | bool
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierRef:
    """A verifier of this task, as the reply, the cache key and the trace name it."""

    name: str
    version: str
    config_hash: str
    role: Role
    decisive: bool
    source: Literal["auto", "request", "route"]
    hidden: bool = False
    """True when the client may not learn which verifier this is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteWeights:
    """A scorer that is calibrated for the route, and so may say what a vote is worth."""

    scorer: ScorerName
    slope: float
    """Votes that a sample is worth more for each unit by which its value is above the mean of the
    samples that vote with it."""
    auc: float
    """How often it put a right sample of a question above a wrong one, 0..1."""
    questions: int
    """Labelled questions on which samples disagreed: what it was calibrated on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the task will be answered."""

    route: Route
    difficulty: float
    """0..1; at or above `threshold` the task is hard."""
    threshold: float
    reasons: tuple[Reason, ...]
    rule: RuleName
    """Name of the stop rule."""
    first_round: int
    cap: int
    """Samples at most, all rounds together."""
    margin: int
    engine: str
    policy: str
    """Version of the model that answers: a policy name, or the engine's model."""
    contract: AnswerContract
    verifiers: tuple[VerifierRef, ...]
    temperature: float | None
    """The value sent to the engine; None leaves it to the engine."""
    top_p: float | None
    max_tokens: int | None
    seed: int
    deadline_ms: int
    live: bool = False
    """True when deltas may be forwarded before the decision: one sample and nothing to check."""
    route_name: str = "default"
    """The configured route that matched; calibration and difficulty are learned for each."""
    max_error: float | None = None
    """Largest share of served answers that may be wrong; None serves whatever was decided."""
    fallback: str = ""
    """Alias that is asked when this stage does not reach its threshold; empty: none."""
    reuse: Reuse = "exact"
    """`near`: a verified answer to another wording may be checked anew for this request."""
    explored: bool = False
    """Drawn deep at random, so that the router can learn what it would have missed."""
    weights: VoteWeights | None = None
    """What votes weigh; None: every vote the same. Only for rules that ask for a lead in votes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """The next round: how many samples to ask for, all at once."""

    round: int
    """From 1."""
    n: int
    first_index: int
    """Index of the round's first sample in the group."""
    seed: int
    """H(plan seed, round); one upstream call carries one seed."""
    programs: int = 0
    """How many of the `n` are asked for as programs; they are the last of the round."""
