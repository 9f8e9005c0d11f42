"""Difficulty of a task from its features: a score, what it is measured against, and the reasons.

Until a route has learned enough, weights set by hand decide. They order prompts sensibly and are
not calibrated: that score is no probability of being wrong. A learned score (app/routing/model.py)
watches first and says so in the reasons; once it may decide, it takes the place of the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from app.plan import Reason
from app.routing.examples import DECIDES, ROUTER
from app.routing.features import Features
from app.routing.model import DifficultyModel, Standing
from verifiers.base import AnswerKind

THRESHOLD = 0.5
"""Of the score by hand."""
MOST_REASONS = 8
"""Of a learned score, the weightiest; the others are many and small."""

_BIAS = -2.0
_KIND_WEIGHT: dict[AnswerKind, float] = {
    "number": 2.2,
    "math": 2.2,
    "choice": 2.2,
    "text": 2.2,
    "set": 2.2,
    "list": 2.2,
    "date": 2.2,
    "code": 2.2,
    "json": 0.3,
    "tool_calls": 0.3,
    "none": -1.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulty:
    """How hard a task is, for whom to sample it once or vote on it."""

    score: float
    """0..1. A learned one is the share of the newest tasks that would gain less by a vote."""
    threshold: float
    """At or above it the task is hard."""
    reasons: tuple[Reason, ...]
    standing: Standing | Literal["cold", "by_hand"]
    """How the learned score stands: `learned` when it decided, `cold` where there is none yet,
    `by_hand` where it was not asked."""

    @property
    def is_hard(self) -> bool:
        return self.score >= self.threshold

    @property
    def is_learned(self) -> bool:
        return self.standing == DECIDES


def find_difficulty(
    features: Features, model: DifficultyModel | None, policy: str, *, keep_vote: str = ""
) -> Difficulty:
    """What is known of a task that `policy` answers, with what its route has learned so far.

    Small talk stays with the score by hand: nothing needs to be learned about it. `keep_vote` says
    why the learned score may only watch here; empty when it may decide.
    """
    by_hand = difficulty_by_hand(features)
    if features.small_talk:
        return by_hand
    if model is None:
        return _told(by_hand, "cold")
    standing: Standing = model.standing_for(features, policy)
    judged = model.judge(features)
    told = [Reason(feature="router_version", value=float(model.version), contribution=0.0)]
    if judged.expected_gain is not None:
        gain = round(judged.expected_gain, 4)
        told.append(Reason(feature="expected_gain", value=gain, contribution=0.0))
    if standing == DECIDES and keep_vote:
        standing = "shadow"
        told.append(Reason(feature="vote_kept", value=keep_vote, contribution=0.0))
    if standing != DECIDES:
        return _told(by_hand, standing, *told)
    weightiest = sorted(model.parts(features).items(), key=lambda part: -abs(part[1]))[
        :MOST_REASONS
    ]
    learned = Difficulty(
        score=judged.rank,
        threshold=judged.share,
        reasons=tuple(
            Reason(feature=name, value=_shown(features, name), contribution=round(part, 4))
            for name, part in weightiest
            if round(part, 4)
        ),
        standing=standing,
    )
    return _told(learned, standing, *told)


def difficulty_by_hand(features: Features) -> Difficulty:
    score, reasons = score_difficulty(features)
    return Difficulty(
        score=round(score, 4), threshold=THRESHOLD, reasons=reasons, standing="by_hand"
    )


def _told(
    difficulty: Difficulty, standing: Standing | Literal["cold"], *more: Reason
) -> Difficulty:
    stands = Reason(feature=ROUTER, value=standing, contribution=0.0)
    reasons = (*difficulty.reasons, stands, *more)
    return replace(difficulty, reasons=reasons, standing=standing)


def _shown(features: Features, name: str) -> float | str | bool:
    """The value of a learned feature as a person reads it; words and hashes are not shown."""
    if name.startswith("answer_kind="):
        return features.answer_kind
    if name == "decisive_verifier":
        return features.decisive
    value = getattr(features, name, True)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else bool(value)


def score_difficulty(features: Features) -> tuple[float, tuple[Reason, ...]]:
    """Difficulty in 0..1 and what each feature added to the log-odds, largest first."""
    reasons = [
        Reason(feature="bias", value=1.0, contribution=_BIAS),
        _reason("answer_kind", features.answer_kind, _KIND_WEIGHT[features.answer_kind]),
        _reason("decisive_verifier", features.decisive, 0.6 * features.decisive),
        _reason("small_talk", features.small_talk, -4.0 * features.small_talk),
        _reason("code", features.code, 0.8 * features.code),
        _reason("numbers", features.numbers, 0.3 * min(features.numbers, 6)),
        _reason("operators", features.operators, 0.4 * min(features.operators, 4)),
        _reason("latex", features.latex, 0.2 * min(features.latex, 6)),
        _reason(
            "reasoning_words", features.reasoning_words, 0.5 * min(features.reasoning_words, 4)
        ),
        _reason("length", features.words, 0.15 * min(math.log1p(features.words), 7.0)),
    ]
    kept = [reason for reason in reasons if reason.contribution]
    total = sum(reason.contribution for reason in kept)
    kept.sort(key=lambda reason: -abs(reason.contribution))
    return 1.0 / (1.0 + math.exp(-total)), tuple(kept)


def _reason(feature: str, value: float | str | bool, contribution: float) -> Reason:
    shown = value if isinstance(value, str | bool) else float(value)
    return Reason(feature=feature, value=shown, contribution=round(contribution, 4))
