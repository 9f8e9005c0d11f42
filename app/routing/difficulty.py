"""Difficulty of a task from its features: a fixed logistic score with its reasons.

The weights are set by hand and shown in every trace. They order prompts sensibly and are not
calibrated: the score is no probability of being wrong.
"""

from __future__ import annotations

import math

from app.group import Reason
from app.routing.features import Features
from verifiers.base import AnswerKind

THRESHOLD = 0.5

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
