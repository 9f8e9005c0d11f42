"""Labelled group → what the router learns from it: the gain from voting.

The gain is whether the answer that the vote arrived at is right, less the share of single samples
that are right, never below 0. It is what one sample would have lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.group import Group
from app.plan import Plan
from app.routing.features import Features, read_features
from app.sample import Scored
from verifiers.base import Status, Verdict
from verifiers.compose import is_verified

ROUTER = "router"
"""Feature of the reason that says how the learned score stood when the plan was made."""
DECIDES = "learned"
"""Its value when the score decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled task."""

    received_at: float
    """Unix seconds."""
    policy: str
    """Which model was asked."""
    features: Features
    gain: float | None
    """0..1; None where the group does not tell."""
    passed: bool | None
    """Whether the first sample that could be checked was right; None where none could."""
    is_fair: bool
    """The learned score had no say in how the group was drawn, or none that hides the gain."""


def example_of(
    group: Group, *, right: bool | None, truth: str | None, source: str
) -> Example | None:
    """What a labelled group teaches; None where nothing was to be decided or no text was kept.

    In a cascade it is about the stage that was asked first.
    """
    plan = group.earlier[0].plan if group.earlier else group.plan
    task = group.task
    if plan.route == "off" or task.content not in ("full", "redacted"):
        return None
    decisive = any(ref.decisive for ref in plan.verifiers)
    return Example(
        received_at=task.received_at,
        policy=plan.policy,
        features=read_features(
            task.prompt(),
            plan.contract,
            verifiers=len(plan.verifiers),
            decisive=decisive,
            system=task.system(),
            tenant=task.tenant,
        ),
        gain=gain_of(group, right=right, truth=truth),
        passed=_first_passed(group) if source == "verifier" else right,
        is_fair=plan.explored or decisive or router_of(plan) != DECIDES,
    )


def gain_of(group: Group, *, right: bool | None, truth: str | None) -> float | None:
    """What voting gained over one sample of the first stage, 0..1; None where it cannot be told.

    One sample without proof tells nothing about a vote, and neither does a cap of one.
    """
    plan = group.earlier[0].plan if group.earlier else group.plan
    ended = [s for s in first_stage(group) if s.sample.finish_reason is not None]
    is_checked = any(_is_decisive(v) for s in ended for v in s.verdicts)
    if plan.cap == 1 or not ended or (len(ended) == 1 and not is_checked):
        return None
    if truth is None:
        # The answer was wrong, so there was nothing to gain; of an earlier stage nobody said so.
        return 0.0 if right is False and not group.earlier else None
    share = sum(_is_right(s, truth) for s in ended) / len(ended)
    reached = _reached(group)
    return max(0.0, float(reached == truth) - share)


def router_of(plan: Plan) -> str | None:
    """How the learned score stood when this plan was made; None where it was not asked."""
    for reason in plan.reasons:
        if reason.feature == ROUTER:
            return str(reason.value)
    return None


def first_stage(group: Group) -> Sequence[Scored]:
    return [scored for scored in group.scored if scored.sample.stage == 0]


def _reached(group: Group) -> str | None:
    """The answer that the first stage arrived at."""
    if group.earlier:
        return group.earlier[0].tally.leader
    winner = group.winner
    return None if winner is None else winner.answer.key


def _is_right(scored: Scored, truth: str) -> bool:
    return scored.answer.key == truth or is_verified(scored.verdicts)


def _first_passed(group: Group) -> bool | None:
    """The verdict on the first sample that has a decisive one: it does not depend on how many
    samples were drawn after it."""
    for scored in first_stage(group):
        for verdict in scored.verdicts:
            if _is_decisive(verdict):
                return verdict.status is Status.PASS
    return None


def _is_decisive(verdict: Verdict) -> bool:
    return (
        verdict.decisive
        and verdict.role == "outcome"
        and verdict.status in (Status.PASS, Status.FAIL)
    )
