"""How sure: a calibrated P(correct) of the answer that is served.

Agreement is not correctness: three of three were right 97 % of the time on one recorded route and
81 % on another. So a vote is scored by what agreement means elsewhere (`app.voting.prior`), and
each route and policy fits offset and steepness of that score on its own labels:
σ(A + B·score). What unanimity is worth differs most between routes, so the labels also choose
whether it adds to the score. Before a route has `MIN_LABELS` labels there is no number at all.

A proven answer is not judged by votes: its confidence is how often proven answers of the route were
right when somebody looked, Beta(½, ½) before the first look (Jeffreys).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from app.group import Group
from app.plan import ScorerName, VoteWeights
from app.voting.logistic import Cell, fit_line, sigmoid
from app.voting.prior import INTERCEPT, SLOPES
from app.voting.tally import can_vote, is_proven
from app.voting.weights import Contested, best_weights

MIN_LABELS = 100
"""At 0 labels the calibration error is .12 to .15, at 100 it is .02 to .03 (on recorded votes)."""
MAX_DISTINCT = 8
"""More different answers than this say nothing new."""
MIN_STEEPNESS = 0.1
"""Better evidence is never worth less, whatever a route's labels say."""
WINDOW = 500
"""Labels that a promise about errors rests on: the newest."""
UNANIMITY = (0.0, 1.0)
"""What a unanimous vote may add to its score, in logits. A route's labels choose; so whatever they
say, answers are ranked in one of two orders that were fixed before (see `app.voting.guarantee`)."""
SILENT_SCORE = -6.0
"""Score of an answer that nobody voted for; set, and below every vote, because no recorded one was
ever right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a finished vote says about its answer, without the answer itself."""

    n: int
    """Samples that ended."""
    a: int
    """Votes of the leader."""
    b: int
    """Votes of the runner-up; equal to `a` in a tie."""
    distinct: int
    """Different answers that were voted for."""
    nulls: int
    """Samples that ended and cast no vote."""
    both_kinds: bool = False
    """A text and a program voted for the leader."""
    proven: bool = False
    """A decisive verifier passed the answer; the votes then say nothing more."""

    @property
    def unanimous(self) -> bool:
        """Every sample that ended voted for the same answer."""
        return 0 < self.a == self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One labelled group: its evidence, and whether the answer that was served is right."""

    evidence: Evidence
    right: bool
    trace_id: str = ""
    said: float | None = None
    """The confidence that it was served with; None when it had none."""
    contested: Mapping[ScorerName, Contested] = field(default_factory=dict)
    """What each scorer said of the samples, where they disagreed and the right answer is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the labels of one route and policy say about its votes and its proofs."""

    route: str
    policy: str
    a: float
    """Offset A, in logits."""
    b: float
    """Steepness B; never under `MIN_STEEPNESS`."""
    unanimity: float
    """One of `UNANIMITY`."""
    voted: int
    """Labels of answers that got a vote and no proof."""
    silent: int
    """Labels of answers that got neither."""
    proven: int
    """Labels of proven answers."""
    proven_right: int
    ladder: tuple[Cell, ...]
    """The last `WINDOW` labels of answers without proof, highest rank first."""
    outcomes: tuple[Outcome, ...]
    """All of this, oldest first."""
    weights: VoteWeights | None = None
    """What votes weigh; None while no scorer has earned that."""

    @property
    def labels(self) -> int:
        return self.voted + self.silent + self.proven

    def probability(self, ranked: float) -> float:
        """P(correct) at this `rank`."""
        return sigmoid(self.a + self.b * ranked)

    def to_state(self) -> dict[str, Any]:
        """As JSON: the labels only, because everything else follows from them."""
        return {
            "route": self.route,
            "policy": self.policy,
            "columns": ["trace_id", "right", "said", "contested", *_EVIDENCE],
            "outcomes": [
                [
                    *(o.trace_id, o.right, o.said),
                    {scorer: [seen.right, seen.wrong] for scorer, seen in o.contested.items()},
                    *(getattr(o.evidence, name) for name in _EVIDENCE),
                ]
                for o in self.outcomes
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Calibration:
        """Raises KeyError, TypeError or ValueError when the state is not of this form."""
        outcomes = []
        for row in state["outcomes"]:
            values = dict(zip(state["columns"], row, strict=True))
            evidence = Evidence(**{name: values.pop(name) for name in _EVIDENCE})
            contested = {
                scorer: Contested(right=tuple(right), wrong=tuple(wrong))
                for scorer, (right, wrong) in values.pop("contested", {}).items()
            }
            outcomes.append(Outcome(evidence=evidence, contested=contested, **values))
        return calibrate(outcomes, route=state["route"], policy=state["policy"])


_EVIDENCE = tuple(field.name for field in fields(Evidence))


def evidence_of(group: Group) -> Evidence:
    """The evidence of the running stage, as it stands in `group.tally`."""
    ended = [scored for scored in group.current if scored.sample.finish_reason is not None]
    votes = group.tally.votes
    leader, a = votes[0] if votes else (None, 0)
    kinds = {
        scored.sample.kind for scored in ended if can_vote(scored) and scored.answer.key == leader
    }
    return Evidence(
        n=len(ended),
        a=a,
        b=votes[1][1] if len(votes) > 1 else 0,
        distinct=len(votes),
        nulls=len(ended) - sum(count for _, count in votes),
        both_kinds=len(kinds) > 1,
        proven=any(is_proven(scored) for scored in ended),
    )


def features_of(evidence: Evidence) -> dict[str, float]:
    """What the score adds up, by name."""
    n = max(evidence.n, 1)
    return {
        "ln_n": math.log(n),
        "leader_share": evidence.a / n,
        "runner_up_share": evidence.b / n,
        "distinct": min(evidence.distinct, MAX_DISTINCT),
        "unanimous": float(evidence.unanimous),
        "null_share": evidence.nulls / n,
        "ln_lead": math.log1p(max(0, evidence.a - evidence.b)),
        "both_kinds": float(evidence.both_kinds),
    }


def score(evidence: Evidence) -> float:
    """The prior's score, in logits; higher is more likely right. For votes, not for proofs."""
    if evidence.a == 0:
        return SILENT_SCORE
    values = features_of(evidence)
    return INTERCEPT + sum(slope * values[name] for name, slope in SLOPES.items())


def rank(evidence: Evidence, unanimity: float) -> float:
    """The score that a calibration with this `unanimity` orders answers by."""
    return score(evidence) + unanimity * evidence.unanimous


def confidence(evidence: Evidence, calibration: Calibration | None) -> float | None:
    """P(correct), 0..1; None while the route has too few labels to say.

    An answer with votes needs `MIN_LABELS` labels of such answers, a proven one as many of proven
    ones; an answer that nobody voted for is placed by all labels of answers without proof.
    """
    if calibration is None or evidence.n == 0:
        return None
    if evidence.proven:
        if calibration.proven < MIN_LABELS:
            return None
        return (calibration.proven_right + 0.5) / (calibration.proven + 1)
    labels = calibration.voted if evidence.a else calibration.voted + calibration.silent
    if labels < MIN_LABELS:
        return None
    return calibration.probability(rank(evidence, calibration.unanimity))


def fit_calibration(
    pairs: Iterable[tuple[Evidence, bool]], *, route: str = "", policy: str = ""
) -> Calibration:
    """The calibration that these labels give; `pairs`: evidence, and whether it was right."""
    outcomes = [Outcome(evidence=evidence, right=bool(right)) for evidence, right in pairs]
    return calibrate(outcomes, route=route, policy=policy)


def calibrate(outcomes: Sequence[Outcome], *, route: str, policy: str) -> Calibration:
    """The calibration that these labels give. Always the same for the same labels."""
    proofs = [outcome for outcome in outcomes if outcome.evidence.proven]
    votes = [outcome for outcome in outcomes if not outcome.evidence.proven]
    lines = {
        extra: fit_line(_cells(votes, extra), min_steepness=MIN_STEEPNESS) for extra in UNANIMITY
    }
    unanimity = max(lines, key=lambda extra: lines[extra].log_posterior)
    voted = sum(outcome.evidence.a > 0 for outcome in votes)
    return Calibration(
        route=route,
        policy=policy,
        a=lines[unanimity].a,
        b=lines[unanimity].b,
        unanimity=unanimity,
        voted=voted,
        silent=len(votes) - voted,
        proven=len(proofs),
        proven_right=sum(outcome.right for outcome in proofs),
        ladder=tuple(reversed(_cells(votes[-WINDOW:], unanimity))),
        outcomes=tuple(outcomes),
        weights=best_weights(outcome.contested for outcome in votes),
    )


def _cells(outcomes: Sequence[Outcome], unanimity: float) -> list[Cell]:
    totals, rights = Counter[float](), Counter[float]()
    for outcome in outcomes:
        s = rank(outcome.evidence, unanimity)
        totals[s] += 1
        rights[s] += outcome.right
    return [Cell(s, rights[s], total) for s, total in sorted(totals.items())]
