"""One question in one order: the path of a request with recorded samples in place of an engine.

The same functions decide as in `app.gateway`, in the same order; samples of a round arrive in the
order of the permutation, and `settled_by` is asked after each.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.group import Group
from app.plan import Draw, Plan, ScorerName, VerifierRef, VoteWeights
from app.replay.rows import Recorded, Row, Traits
from app.sample import Sample, SampleKind, Scored
from app.task import Options, RuleName, Task
from app.voting.confidence import Evidence, evidence_of
from app.voting.decide import decide
from app.voting.logistic import sigmoid
from app.voting.stop import Stop, next_step, settled_by
from app.voting.tally import tally_votes
from app.voting.weights import Contested, contested
from verifiers.base import Answer, AnswerContract, Role, Status, Verdict

MARGIN = 3
DEEPEST = 40
"""No question draws more, unless told to: the cap of effort high."""
_CONTRACT = AnswerContract(kind="text")
_CHECK = VerifierRef(
    name="recorded", version="1", config_hash="0" * 12, role="outcome", decisive=True, source="auto"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is replayed."""

    rule: RuleName = "margin"
    cap: int | None = None
    """Samples a question at most; None: `DEEPEST`. Never more than were recorded."""
    margin: int = MARGIN
    orders: int = 10
    seed: int = 0
    """Equal seeds give equal orders, whatever the rule."""
    scorer: ScorerName | None = None
    """What weighs votes, where it earns that on the other half of the questions; None: nothing."""

    def cap_of(self, recorded: int) -> int:
        return min(self.cap or DEEPEST, recorded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What became of one question in one order."""

    right: bool
    """The served answer is right; no answer is not."""
    reason: str
    """Why drawing stopped."""
    samples: int
    """That ended and were judged."""
    cancelled: int
    """In flight when the vote was settled."""
    nulls: int
    """Samples without an answer; they cost and do not vote."""
    rounds: int
    tokens: int | None
    """Completion tokens of `samples`; None where the source did not count them."""
    evidence: Evidence
    contested: Contested | None = None
    """What the setting's scorer says of the samples, where they disagreed and the answer was right:
    all that a log with a label knows."""


def plan_of(
    row: Row, traits: Traits, setting: Setting, *, seed: int, weights: VoteWeights | None = None
) -> Plan:
    """The plan of a hard task; `two_kinds` only where both kinds were recorded."""
    rule = setting.rule
    if rule == "two_kinds" and not traits.two_kinds:
        rule = "margin"
    cap = setting.cap_of(len(row.samples))
    return Plan(
        route="hard",
        difficulty=1.0,
        threshold=0.5,
        reasons=(),
        rule=rule,
        first_round=min(2 if rule == "two_kinds" else MARGIN, cap),
        cap=cap,
        margin=setting.margin,
        engine="recorded",
        policy=row.model,
        contract=_CONTRACT,
        verifiers=(_CHECK,) if traits.checked else (),
        temperature=None,
        top_p=None,
        max_tokens=None,
        seed=seed,
        deadline_ms=0,
        weights=weights,
    )


def shuffled(row: Row, setting: Setting, order: int) -> tuple[list[Recorded], int]:
    """The samples in the order in which they are drawn, and the seed of the plan."""
    rng = random.Random(f"{setting.seed}\x1f{row.dataset}\x1f{row.model}\x1f{row.id}\x1f{order}")
    drawn = list(row.samples)
    rng.shuffle(drawn)
    return drawn, rng.randrange(2**31)


def play(
    row: Row, traits: Traits, setting: Setting, order: int, weights: VoteWeights | None = None
) -> Played:
    """Play `row` in its order number `order`."""
    drawn, seed = shuffled(row, setting, order)
    plan = plan_of(row, traits, setting, seed=seed, weights=weights)
    group = Group.open(_task(row), plan)
    supply = Supply(drawn, by_kind=plan.rule == "two_kinds")
    cancelled, tokens = 0, 0
    while isinstance(step := next_step(group, seed=0), Draw):
        in_flight = step.n
        for recorded in supply.draw(step):
            scored = _scored(recorded, len(group.scored), step, checked=traits.checked)
            group = group.with_scored(scored)
            group = group.with_tally(tally_votes(group.current, plan.weights))
            tokens += recorded.tokens or 0
            in_flight -= 1
            if settled_by(group, in_flight=in_flight):
                break
        cancelled += in_flight
    assert isinstance(step, Stop)
    winner = group.with_decision(decide(group, step.reason)).winner
    key = winner.answer.key if winner else None
    right = key is not None and next(s.correct for s in row.samples if s.answer == key)
    known = contested(group, key) if setting.scorer and right and key is not None else {}
    return Played(
        right=right,
        reason=step.reason,
        samples=len(group.scored),
        cancelled=cancelled,
        nulls=sum(scored.answer.key is None for scored in group.scored),
        rounds=group.rounds,
        tokens=tokens if traits.counts_tokens else None,
        evidence=evidence_of(group),
        contested=known.get(setting.scorer) if setting.scorer else None,
    )


class Supply:
    """Recorded samples in the order in which they are drawn, each once."""

    def __init__(self, drawn: Sequence[Recorded], *, by_kind: bool) -> None:
        self._piles: dict[SampleKind, list[Recorded]] = {"text": [], "program": []}
        for recorded in reversed(drawn):
            self._piles[recorded.kind if by_kind else "text"].append(recorded)

    def draw(self, step: Draw) -> Iterator[Recorded]:
        """The samples of a round, programs last; an empty pile is replaced by the other one."""
        for number in range(step.n):
            asked: SampleKind = "program" if number >= step.n - step.programs else "text"
            other: SampleKind = "text" if asked == "program" else "program"
            yield (self._piles[asked] or self._piles[other]).pop()


def _scored(recorded: Recorded, index: int, step: Draw, *, checked: bool) -> Scored:
    """The recorded sample as if it had just arrived.

    Texts are kept apart from the answers, so one of the recorded length stands for it.
    """
    sample = Sample(
        index=index,
        kind=recorded.kind,
        round=step.round,
        call=step.round - 1,
        choice=index - step.first_index,
        text=" " * max(1, recorded.chars or 0),
        finish_reason="stop",
        # Their place within the question is all that counts of lengths: characters will do.
        completion_tokens=(recorded.chars or 0) if recorded.tokens is None else recorded.tokens,
    )
    answer = Answer(
        kind="text", rule="recorded" if recorded.answer is not None else None, key=recorded.answer
    )
    verdicts = []
    if checked:
        passed = bool(recorded.verified)
        verdicts.append(_verdict(passed, score=float(passed), role="outcome", decisive=True))
    if recorded.score is not None:
        score = sigmoid(recorded.score)
        verdicts.append(_verdict(score >= 0.5, score=score, role="judge", decisive=False))
    return Scored(sample=sample, answer=answer, verdicts=tuple(verdicts))


def _verdict(passed: bool, *, score: float, role: Role, decisive: bool) -> Verdict:
    return Verdict(
        verifier=_CHECK.name,
        version=_CHECK.version,
        config_hash=_CHECK.config_hash,
        role=role,
        decisive=decisive,
        status=Status.PASS if passed else Status.FAIL,
        score=score,
    )


def _task(row: Row) -> Task:
    return Task(
        trace_id=f"{row.dataset}/{row.id}",
        request_id="",
        received_at=0.0,
        tenant="",
        model=row.model,
        alias=row.model,
        engine="recorded",
        messages=(),
        options=Options(),
    )
