"""Group → decision: which sample is served, and what may be said about it.

Verified: a decisive verifier passed and so did every gate and policy. Agreed: nothing decisive was
there to ask, and the vote was settled by its rule. Everything else is unverified, and so is an
answer without proof that is less sure than the route's `max_error` asks for. Ties are never broken
at random.
"""

from __future__ import annotations

from app.group import Decision, DecisionStatus, Group
from app.sample import Scored
from app.voting.confidence import Calibration, confidence, evidence_of
from app.voting.guarantee import threshold
from app.voting.rules import RULES
from app.voting.tally import can_vote, is_proven
from verifiers.compose import is_refuted


def decide(group: Group, stop_reason: str, calibration: Calibration | None = None) -> Decision:
    """The decision on what the running stage drew.

    `winner` is None only when no sample ended that can be served. `calibration`: that of the plan's
    route and policy; without one nothing is known of the confidence, and a promise about errors
    cannot be kept.
    """
    ranked = sorted(
        filter(_can_be_served, group.current),
        key=lambda scored: _rank(group, scored),
        reverse=True,
    )
    if not ranked:
        return Decision(status="unverified", winner=None, stop_reason=stop_reason)
    status = _status(group, ranked[0])
    sure = confidence(evidence_of(group), calibration)
    asked = group.plan.max_error
    needed = None if asked is None else threshold(calibration, asked)
    abstained = (
        asked is not None
        and status != "verified"
        and (sure is None or needed is None or sure < needed)
    )
    if abstained:
        status = "unverified"
    if status == "unverified" and group.task.options.on_unverified == "hold":
        status = "held"
    returned = _distinct_first(ranked)[: group.task.choices]
    return Decision(
        status=status,
        winner=ranked[0].sample.index,
        returned=tuple(scored.sample.index for scored in returned),
        stop_reason=stop_reason,
        confidence=sure,
        abstained=abstained,
        threshold=needed,
    )


def _can_be_served(scored: Scored) -> bool:
    """It ended, and if it is a program, it printed something: what was written is never shown."""
    sample = scored.sample
    return sample.finish_reason is not None and (sample.kind == "text" or bool(sample.text))


def _status(group: Group, winner: Scored) -> DecisionStatus:
    if is_proven(winner):
        return "verified"
    asked_for_proof = any(ref.decisive for ref in group.plan.verifiers)
    if (
        not asked_for_proof
        and can_vote(winner)
        and winner.answer.key == group.tally.leader
        and _is_settled(group)
    ):
        return "agreed"
    return "unverified"


def _is_settled(group: Group) -> bool:
    """By the rule of the plan, or with the lead that the default rule asks for.

    A rule is asked only about votes: one sample on the easy route agrees with nobody.
    """
    if group.tally.lead >= group.plan.margin:
        return True
    return group.plan.route == "hard" and RULES[group.plan.rule].settled(group) is not None


def _rank(group: Group, scored: Scored) -> tuple[float, ...]:
    """Best last. Proof, then standing, then votes; ties by text before what a program printed, the
    verifiers' mean score, the mean logprob, the shorter text and the earlier draw."""
    sample = scored.sample
    standing = dict[str, float](group.tally.weights or group.tally.votes)
    votes = standing.get(scored.answer.key or "", 0.0) if _counts(scored) else 0.0
    scores = [verdict.score for verdict in scored.verdicts if verdict.score is not None]
    logprobs = sample.logprobs
    return (
        is_proven(scored),
        not is_refuted(scored.verdicts),
        sample.finish_reason != "length",
        votes,
        sample.kind == "text",
        sum(scores) / len(scores) if scores else 0.0,
        sum(logprobs) / len(logprobs) if logprobs else float("-inf"),
        -len(sample.text),
        -sample.index,
    )


def _counts(scored: Scored) -> bool:
    return is_proven(scored) or can_vote(scored)


def _distinct_first(ranked: list[Scored]) -> list[Scored]:
    """The best sample of each answer, then the rest, both in rank order."""
    seen: set[str] = set()
    first: list[Scored] = []
    again: list[Scored] = []
    for scored in ranked:
        said = scored.answer.key or scored.sample.text
        (again if said in seen else first).append(scored)
        seen.add(said)
    return first + again
