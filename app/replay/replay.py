"""A recording played under a setting: what a rule answers, what it costs, and how sure it is.

Every row is played in several seeded orders. The same seed gives every rule the same orders, so two
results differ by their rules and not by luck.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

from app.plan import VoteWeights
from app.replay.measure import Estimate, estimate, estimate_pooled
from app.replay.play import Played, Setting, play
from app.replay.rows import Recording, Row, Traits, traits_of
from app.voting.confidence import confidence, fit_calibration
from app.voting.reliability import Believed, Reliability, reliability_of
from app.voting.weights import Contested, fit_weights

CHUNK = 64
"""Rows of one job."""


Weights = tuple[VoteWeights | None, VoteWeights | None]
"""What votes weigh on the questions of each half."""
PLAIN: Weights = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Some rows of a recording under one setting; what one process plays at a time."""

    rows: tuple[Row, ...]
    traits: Traits
    setting: Setting
    weights: Weights

    def run(self) -> list[tuple[Played, ...]]:
        """For every row what became of it in each order."""
        return [
            tuple(
                play(row, self.traits, self.setting, order, self.weights[half_of(row.id)])
                for order in range(self.setting.orders)
            )
            for row in self.rows
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """A whole recording under one setting."""

    recording: Recording
    setting: Setting
    weights: Weights = PLAIN

    def jobs(self) -> Iterator[Job]:
        traits, rows = traits_of(self.recording), self.recording.rows
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            yield Job(rows=part, traits=traits, setting=self.setting, weights=self.weights)


Run = Callable[[Sequence[Job]], Iterator[list[tuple[Played, ...]]]]
"""Runs jobs, here or in other processes, and gives their results in the same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A recording under one setting, question by question and order by order."""

    recording: Recording
    setting: Setting
    weights: Weights
    played: tuple[tuple[Played, ...], ...]
    """For every row in the recording's order, then for every order."""

    def by_question(self, value: Callable[[Played], float]) -> list[float]:
        """The mean over orders of each question."""
        return [fmean(map(value, orders)) for orders in self.played]

    @property
    def accuracy(self) -> list[float]:
        return self.by_question(lambda played: played.right)

    @property
    def samples(self) -> list[float]:
        return self.by_question(lambda played: played.samples)


def run_here(jobs: Sequence[Job]) -> Iterator[list[tuple[Played, ...]]]:
    return (job.run() for job in jobs)


def replay_all(
    recordings: Sequence[Recording], settings: Sequence[Setting], run: Run = run_here
) -> list[list[Replayed]]:
    """For every setting, every recording. With a scorer, one order is played first, as the log that
    it is calibrated on."""
    wanted = [Playing(recording=r, setting=setting) for setting in settings for r in recordings]
    first = [
        replace(each, setting=replace(each.setting, orders=1))
        for each in wanted
        if each.setting.scorer
    ]
    learned = iter([weights_by_half(log) for log in replay_each(first, run)])
    wanted = [
        replace(each, weights=next(learned)) if each.setting.scorer else each for each in wanted
    ]
    found = iter(replay_each(wanted, run))
    return [[next(found) for _ in recordings] for _ in settings]


def replay_each(wanted: Sequence[Playing], run: Run) -> list[Replayed]:
    """One list of jobs for all, so that no process waits for a group to end."""
    jobs = [list(each.jobs()) for each in wanted]
    results = run([job for each in jobs for job in each])
    return [
        Replayed(
            recording=each.recording,
            setting=each.setting,
            weights=each.weights,
            played=tuple(row for rows in islice(results, len(cut)) for row in rows),
        )
        for each, cut in zip(wanted, jobs, strict=True)
    ]


def weights_by_half(log: Replayed) -> Weights:
    """The weights for each half, calibrated on the groups of the other one."""
    scorer = log.setting.scorer
    if scorer is None:
        return PLAIN
    first, second = (fit_weights(scorer, known) for known in contested_by_half(log))
    return first, second


def contested_by_half(log: Replayed) -> tuple[list[Contested], list[Contested]]:
    """What is known to serve each half: the contested groups of the other one, in one order."""
    known: tuple[list[Contested], list[Contested]] = ([], [])
    for row, (played, *_) in zip(log.recording.rows, log.played, strict=True):
        if played.contested is not None:
            known[1 - half_of(row.id)].append(played.contested)
    return known


def believed(replayed: Replayed, order: int) -> list[Believed]:
    """Every answer of this order that would have been served with a confidence.

    The calibration is fitted on one half of the questions, as the product fits it on a log of them,
    and asked about the other half, both ways. Where a half has too few labels for a number there is
    none.
    """
    found = []
    halves = [half_of(row.id) for row in replayed.recording.rows]
    played = [orders[order] for orders in replayed.played]
    for asked in (0, 1):
        calibration = fit_calibration(
            (each.evidence, each.right)
            for each, half in zip(played, halves, strict=True)
            if half != asked
        )
        for each, half in zip(played, halves, strict=True):
            if half == asked:
                sure = confidence(each.evidence, calibration)
                if sure is not None:
                    found.append(Believed(confidence=sure, right=each.right))
    return found


def half_of(name: str) -> int:
    """0 or 1, by a hash of the question's id: the same in every process and for every model."""
    return hashlib.sha256(f"half\x1f{name}".encode()).digest()[0] % 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The numbers of one recording under one setting; means are over questions and orders."""

    dataset: str
    model: str
    questions: int
    cap: int
    """Samples that the deepest question could draw."""
    accuracy: Estimate
    samples: Estimate
    rounds: float
    tokens: float | None
    cancelled: float
    nulls: float
    """Share of the samples that had no answer."""
    stopped: Mapping[str, float]
    """Share of the questions by the reason why drawing stopped."""
    weights: Weights
    reliability: Reliability | None
    """Of the confidences in all orders; None where there are none."""
    diagram: Reliability | None
    """The same in one order, so that every answer counts once and its intervals are true."""


def summarise(replayed: Replayed) -> Summary:
    recording, setting = replayed.recording, replayed.setting
    every = [played for orders in replayed.played for played in orders]
    tokens = [played.tokens for played in every if played.tokens is not None]
    sure = [believed(replayed, order) for order in range(setting.orders)]
    reasons = Counter(played.reason for played in every)
    return Summary(
        dataset=recording.dataset,
        model=recording.model,
        questions=len(recording.rows),
        cap=setting.cap_of(recording.deepest),
        accuracy=estimate(replayed.accuracy, seed=setting.seed),
        samples=estimate(replayed.samples, seed=setting.seed),
        rounds=fmean(played.rounds for played in every),
        tokens=fmean(tokens) if len(tokens) == len(every) else None,
        cancelled=fmean(played.cancelled for played in every),
        nulls=sum(played.nulls for played in every) / sum(played.samples for played in every),
        stopped={reason: count / len(every) for reason, count in sorted(reasons.items())},
        weights=replayed.weights,
        reliability=reliability_of([each for order in sure for each in order]),
        diagram=reliability_of(sure[0]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One rule minus another on the same questions in the same orders."""

    accuracy: Estimate
    samples: Estimate


def compare(ours: Sequence[Replayed], theirs: Sequence[Replayed]) -> Difference:
    """Paired over questions; several recordings are pooled, each weighing the same."""
    seed = ours[0].setting.seed
    right = [_minus(a.accuracy, b.accuracy) for a, b in zip(ours, theirs, strict=True)]
    cost = [_minus(a.samples, b.samples) for a, b in zip(ours, theirs, strict=True)]
    return Difference(
        accuracy=estimate_pooled(right, seed=seed), samples=estimate_pooled(cost, seed=seed)
    )


def _minus(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(ours, theirs, strict=True)]
