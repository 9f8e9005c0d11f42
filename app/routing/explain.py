"""Why a task would be called easy or hard, for people: both scores, part by part.

The plan's reasons name features and never words, because they outlive the prompt. This shows the
words too, and is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.plan import Reason
from app.routing.difficulty import difficulty_by_hand
from app.routing.features import Features, read_grams
from app.routing.model import DifficultyModel, Standing
from app.routing.online import inputs_of

MOST_WORDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one feature, or one run of words, adds to a score."""

    name: str
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedView:
    """What a route's learned model says of a task."""

    version: int
    standing: Standing
    policy: str
    """The model that it was learned on."""
    labels: int
    auc: float | None
    """How well it ordered the newest labelled tasks."""
    score: float
    """Predicted gain, 0..1, not calibrated."""
    rank: float
    """Share of the newest tasks that scored lower; below `share` one sample is enough."""
    share: float
    expected_gain: float | None
    """Accuracy that one sample would lose against the vote, in the mean of such tasks."""
    parts: tuple[Part, ...]
    """Weightiest first; in log-odds, or in gain where trees were fitted."""
    words: tuple[Part, ...]
    """The weightiest runs of words, in log-odds; `text` of the parts is all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Both scores of one task."""

    by_hand: float
    threshold: float
    by_hand_reasons: tuple[Reason, ...]
    learned: LearnedView | None
    """None where nothing was learned yet."""


def explain_difficulty(
    prompt: str, features: Features, model: DifficultyModel | None, policy: str
) -> Explanation:
    """`policy` is the model that would answer."""
    by_hand = difficulty_by_hand(features)
    return Explanation(
        by_hand=by_hand.score,
        threshold=by_hand.threshold,
        by_hand_reasons=by_hand.reasons,
        learned=None if model is None else _learned(prompt, features, model, policy),
    )


def _learned(prompt: str, features: Features, model: DifficultyModel, policy: str) -> LearnedView:
    judged, online = model.judge(features), model.predictor.online
    inputs = inputs_of(features, model.pass_rate)
    words = [
        Part(name=text, contribution=round(online.part_of(place, inputs), 4))
        for text, place in read_grams(prompt)
    ]
    parts = [Part(name=n, contribution=round(c, 4)) for n, c in model.parts(features).items()]
    return LearnedView(
        version=model.version,
        standing=model.standing_for(features, policy),
        policy=model.policy,
        labels=model.labels,
        auc=None if model.auc is None else round(model.auc, 4),
        score=round(judged.score, 4),
        rank=round(judged.rank, 4),
        share=judged.share,
        expected_gain=None if judged.expected_gain is None else round(judged.expected_gain, 4),
        parts=_weightiest(parts, len(parts)),
        words=_weightiest(words, MOST_WORDS),
    )


def _weightiest(parts: list[Part], most: int) -> tuple[Part, ...]:
    told = [part for part in parts if part.contribution]
    return tuple(sorted(told, key=lambda part: -abs(part.contribution))[:most])
