"""Which scorer may weigh the votes of a route, and how much: fitted on the route's own log.

A scorer is believed only after it has told right samples from wrong ones there, within questions:
many scorers say how hard a question is, and are no help in choosing between its answers. The test
is the AUC over the pairs of a right and a wrong sample of one question, on logged groups whose
right answer is known. Under `MIN_AUC`, or where that may be luck, every vote weighs the same.

The slope is that of a conditional logistic model of the same pairs, in logits: a sample that is one
logit likelier right than the others of its question gets one vote more (`app/voting/scorers.py`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import get_args

from app.group import Group
from app.plan import ScorerName, VoteWeights
from app.voting.logistic import sigmoid
from app.voting.scorers import value_of
from app.voting.tally import can_vote

MIN_AUC = 0.65
MIN_QUESTIONS = 20
"""Labelled questions on which samples disagreed; agreement tells nothing about a scorer."""
MIN_ERRORS_AWAY = 3.0
"""Standard errors by which the AUC has to be away from ½: with three scorers a route, chance would
pass a mere `MIN_AUC` too often."""
SHRINKAGE = 0.1
"""Precision of the prior of the slope, N(0, 1 / SHRINKAGE)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested:
    """A question on which samples disagreed, seen by one scorer: its values of the two camps."""

    right: tuple[float, ...]
    wrong: tuple[float, ...]

    @property
    def auc(self) -> float:
        """The share of pairs that are in the right order; a tie is half of one."""
        pairs = [(r > w) + 0.5 * (r == w) for r in self.right for w in self.wrong]
        return fmean(pairs)


def contested(group: Group, truth: str) -> Mapping[ScorerName, Contested]:
    """What each scorer said of this stage's voters; `truth` is the key of the right answer.

    Scorers without a value for both camps are left out, so the result is empty where all agreed.
    """
    voters = [scored for scored in group.current if can_vote(scored)]
    found = {}
    for scorer in get_args(ScorerName):
        values = [(s.answer.key == truth, value_of(scorer, s)) for s in voters]
        right = tuple(value for is_right, value in values if is_right and value is not None)
        wrong = tuple(value for is_right, value in values if not is_right and value is not None)
        if right and wrong:
            found[scorer] = Contested(right=right, wrong=wrong)
    return found


def within_question_auc(questions: Iterable[Contested]) -> float:
    """The mean over questions, each weighing the same. Raises StatisticsError without any."""
    return fmean(question.auc for question in questions)


def fit_weights(scorer: ScorerName, questions: Sequence[Contested]) -> VoteWeights | None:
    """The scorer's weights on a route, or None while it has not earned them."""
    if len(questions) < MIN_QUESTIONS:
        return None
    slope = fit_slope(questions)
    each = [question.auc if slope > 0 else 1 - question.auc for question in questions]
    auc = fmean(each)
    error = stdev(each) / math.sqrt(len(each))
    if auc < MIN_AUC or auc - 0.5 < MIN_ERRORS_AWAY * error:
        return None
    return VoteWeights(scorer=scorer, slope=slope, auc=auc, questions=len(questions))


def best_weights(questions: Iterable[Mapping[ScorerName, Contested]]) -> VoteWeights | None:
    """Those of the scorer with the highest AUC among the ones that earned any."""
    seen: defaultdict[ScorerName, list[Contested]] = defaultdict(list)
    for question in questions:
        for scorer, camps in question.items():
            seen[scorer].append(camps)
    fitted = (fit_weights(scorer, seen[scorer]) for scorer in sorted(seen))
    return max(filter(None, fitted), key=lambda weights: weights.auc, default=None)


def fit_slope(questions: Sequence[Contested]) -> float:
    """Of a conditional logistic model, by Newton's method. Each question weighs the same, however
    many pairs it has."""
    pairs = [
        (r - w, 1 / (len(q.right) * len(q.wrong)))
        for q in questions
        for r in q.right
        for w in q.wrong
    ]
    slope = 0.0
    for _ in range(50):
        gradient, curvature = -SHRINKAGE * slope, SHRINKAGE
        for gap, weight in pairs:
            p = sigmoid(slope * gap)
            gradient += weight * (1 - p) * gap
            curvature += weight * p * (1 - p) * gap * gap
        # A logistic loss is flat far out, where a whole step would overshoot.
        step = max(-2.0, min(2.0, gradient / curvature))
        slope += step
        if abs(step) < 1e-9:
            break
    return slope
