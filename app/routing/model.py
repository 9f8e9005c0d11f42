"""What one route has learned about where voting gains, and how it goes on learning.

`RouteModel` learns: labelled tasks in, one at a time, in the order of the log. Each is scored
before it is learned, so its points are honest. `DifficultyModel` is what a plan asks: the same at
one version, and never changed.

The score only watches until `app.routing.gate` lets it decide. It watches again after a drift of
the pass rate, and when another policy answers: what it knew was about another model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from app.routing.calibrated import Breakpoints, calibrate_gain
from app.routing.drift import PageHinkley
from app.routing.examples import Example
from app.routing.features import Features
from app.routing.gate import JUDGED_ON, Ladder, Point, auc, fair, ladder, may_decide, rank_of
from app.routing.online import Inputs, OnlineModel, inputs_of, logistic
from app.routing.trees import Trees
from verifiers.base import AnswerKind

FORM = 1
"""Of the stored state; a state of another form is not read."""
POINTS = 2_000
"""The newest points that are kept: for the gate, the ladders and the calibration."""
JUDGE_EVERY = 10
"""Points between two looks at whether the score may decide."""
IN_A_ROW = 20
"""Labelled groups of another policy, none of the old between them, that make it the route's."""
TEXT = "text_model"
"""The column of the trees that holds the logit of the online model."""
COUNTS = (
    *("chars", "tokens", "words", "numbers", "operators", "latex", "questions", "clauses"),
    *("reasoning_words", "code", "verifiers", "decisive_verifier", "fail_rate"),
)
COLUMNS = (*COUNTS, *(f"answer_kind={kind}" for kind in get_args(AnswerKind)), TEXT)
"""What trees are fitted on."""
_HOUR_S = 3600
_FORGET = 0.02
"""Weight of the newest answer in the running pass rate."""

Since = Literal["start", "drift", "promotion"]
Standing = Literal["shadow", "learned", "drift", "promotion"]


@dataclass(frozen=True, slots=True)
class Predictor:
    """The online model, and the trees over it where some were fitted."""

    online: OnlineModel
    trees: Trees | None

    def score(self, inputs: Inputs) -> float:
        """Predicted gain, 0..1, as the models say it; not calibrated."""
        logit = self.online.logit(inputs)
        if self.trees is None:
            return logistic(logit)
        return clipped(self.trees.predict(row_of(inputs, logit, self.trees.columns)))

    def parts(self, inputs: Inputs) -> dict[str, float]:
        """What each feature added: to the log-odds, or with trees to the gain itself."""
        parts = self.online.parts(inputs)
        if self.trees is None:
            return parts
        return self.trees.parts(row_of(inputs, sum(parts.values()), self.trees.columns))


def clipped(gain: float) -> float:
    return min(1.0, max(0.0, gain))


def row_of(inputs: Inputs, logit: float, columns: Sequence[str] = COLUMNS) -> list[float]:
    """The trees' row for a task; `logit` is what the online model says of it."""
    known = {**inputs.named, TEXT: logit}
    return [known.get(name, 0.0) for name in columns]


@dataclass(frozen=True, slots=True)
class Learnt:
    """A task as it looked before it was learned."""

    inputs: Inputs
    logit: float
    """Of the online model."""
    point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the learned model says of one task."""

    score: float
    """The predicted gain, as the models say it."""
    rank: float
    """Share of the newest tasks of its kind that scored lower."""
    share: float
    """At or above this rank a task is hard; 0: none is sent to one sample."""
    expected_gain: float | None
    """The score, calibrated: what one sample would lose. None where nothing is known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifficultyModel:
    """One version of what a route has learned, ready to be asked."""

    route: str
    version: int
    policy: str
    """Version of the model whose groups it was judged on."""
    standing: Standing
    labels: int
    auc: float | None
    """On the newest fair points."""
    predictor: Predictor
    ladder: Ladder
    """Of tasks without a decisive verifier."""
    ladder_decisive: Ladder
    """Of tasks that a decisive verifier looks at."""
    breakpoints: Breakpoints
    pass_rate: float | None

    def judge(self, features: Features) -> Judgement:
        inputs = inputs_of(features, self.pass_rate)
        score, ladder = self.predictor.score(inputs), self.ladder_for(features)
        return Judgement(
            score=score,
            rank=ladder.rank(score),
            share=ladder.share,
            expected_gain=self.breakpoints.at(score),
        )

    def parts(self, features: Features) -> dict[str, float]:
        """What each feature added to the score."""
        return self.predictor.parts(inputs_of(features, self.pass_rate))

    def ladder_for(self, features: Features) -> Ladder:
        return self.ladder_decisive if features.decisive else self.ladder

    def standing_for(self, features: Features, policy: str) -> Standing:
        """How the score stands for a task that this policy answers."""
        if policy != self.policy:
            return "promotion"
        watches = self.standing == "learned" and not self.ladder_for(features).share
        return "shadow" if watches else self.standing


class RouteModel:
    """Learns one route from its labelled groups. The same groups give the same state."""

    def __init__(self) -> None:
        self.online = OnlineModel()
        self.trees: Trees | None = None
        self.points: deque[Point] = deque(maxlen=POINTS)
        self.labels = 0
        self.policy = ""
        self.decides = False
        self.starts = 0
        """How often it had to start over; points are of the newest start."""
        self._since: Since = "start"
        self._rival = ("", 0)
        self._drift = PageHinkley()
        self._hour = 0
        self._running: float | None = None
        self.pass_rate: float | None = None
        """As of the last full hour, as a plan would have known it."""

    @property
    def predictor(self) -> Predictor:
        return Predictor(self.online, self.trees)

    @property
    def standing(self) -> Standing:
        if self.decides:
            return "learned"
        if self._since != "start" and len(fair(tuple(self.points))) < JUDGED_ON:
            return self._since
        return "shadow"

    def learn(self, example: Example) -> Learnt | None:
        """Learn a task; it comes back as it looked before, if it became a point."""
        self._turn_hour(example.received_at)
        is_own = self._follow_policy(example.policy)
        learnt = None
        if example.gain is not None:
            inputs = inputs_of(example.features, self.pass_rate)
            if is_own:
                score = self.predictor.score(inputs)
                decisive = example.features.decisive
                rank = rank_of(score, self.points, is_decisive=decisive)
                point = Point(score, example.gain, decisive, example.is_fair, rank)
                learnt = Learnt(inputs, self.online.logit(inputs), point)
                self.points.append(point)
            self.online.learn(inputs, example.gain)
            self.labels += 1
        if example.passed is not None and is_own:
            self._watch(example.passed)
        if example.gain is not None and self.labels % JUDGE_EVERY == 0:
            self.judge()
        return learnt

    def judge(self) -> None:
        """Look whether the score may decide from here on."""
        points = tuple(self.points)
        self.decides = may_decide(points, self.labels, decides=self.decides)

    def _turn_hour(self, received_at: float) -> None:
        hour = int(received_at // _HOUR_S)
        if hour > self._hour:
            self._hour, self.pass_rate = hour, self._running

    def _follow_policy(self, policy: str) -> bool:
        """Whether a group is of the route's policy, which one that keeps answering becomes."""
        if policy == self.policy:
            self._rival = ("", 0)
            return True
        name, times = self._rival
        self._rival = (policy, times + 1 if policy == name else 1)
        if self.policy and self._rival[1] < IN_A_ROW:
            return False
        if self.policy:
            self._start_over("promotion")
        self.policy, self._rival = policy, ("", 0)
        return True

    def _watch(self, passed: bool) -> None:
        value = float(passed)
        running = value if self._running is None else self._running
        self._running = running + _FORGET * (value - running)
        self._drift = self._drift.after(value)
        if self._drift.has_moved:
            self._start_over("drift")

    def _start_over(self, since: Since) -> None:
        """Watch only, until enough new points have come. What was learned of the words stays."""
        self.points.clear()
        self.decides = False
        self.starts += 1
        self._since = since
        self._drift = PageHinkley()

    def to_state(self) -> dict[str, Any]:
        return {
            "form": FORM,
            "online": self.online.to_state(),
            "trees": None if self.trees is None else self.trees.to_state(),
            "points": [[p.score, p.gain, p.is_decisive, p.is_fair, p.rank] for p in self.points],
            "labels": self.labels,
            "policy": self.policy,
            "decides": self.decides,
            "starts": self.starts,
            "since": self._since,
            "rival": list(self._rival),
            "drift": self._drift.to_state(),
            "hour": self._hour,
            "running": self._running,
            "pass_rate": self.pass_rate,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RouteModel:
        """Raises KeyError, TypeError, ValueError or IndexError when it is not such a state."""
        if state["form"] != FORM:
            raise ValueError(f"its form is {state['form']}; this version reads {FORM}")
        model = cls()
        model.online = OnlineModel.from_state(state["online"])
        model.trees = None if state["trees"] is None else Trees.from_state(state["trees"])
        for score, gain, is_decisive, is_fair, rank in state["points"]:
            kind = bool(is_decisive), bool(is_fair)
            model.points.append(Point(float(score), float(gain), *kind, float(rank)))
        model.labels = state["labels"]
        model.policy = state["policy"]
        model.decides = state["decides"]
        model.starts = state["starts"]
        model._since = state["since"]
        name, times = state["rival"]
        model._rival = (name, times)
        model._drift = PageHinkley.from_state(state["drift"])
        model._hour = state["hour"]
        model._running = state["running"]
        model.pass_rate = state["pass_rate"]
        return model

    def to_model(self, route: str, version: int, *, max_loss: float) -> DifficultyModel:
        """What plans ask. `max_loss`: accuracy that tasks sent to one sample may lose by it."""
        points = tuple(self.points)
        of_kinds = [ladder(points, max_loss, is_decisive=each) for each in (False, True)]
        # A score that may decide and would send nothing to one sample goes on watching.
        sends = any(each.share for each in of_kinds)
        standing: Standing = "shadow" if self.decides and not sends else self.standing
        return DifficultyModel(
            route=route,
            version=version,
            policy=self.policy,
            standing=standing,
            labels=self.labels,
            auc=auc(fair(points)[-JUDGED_ON:]),
            predictor=self.predictor,
            ladder=of_kinds[0],
            ladder_decisive=of_kinds[1],
            breakpoints=calibrate_gain((p.score, p.gain) for p in points),
            pass_rate=self.pass_rate,
        )
