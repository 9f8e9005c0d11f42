"""The attempts of a cascade: the first model's, and its fallback's where that was asked."""

from __future__ import annotations

from dataclasses import dataclass

from app.group import Decision, Group, Stage, Tally
from app.plan import Plan
from app.sample import Scored
from app.ui.shown import show_line, show_percent
from app.ui.words import BADGES, Badge, stop_sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One model's attempt."""

    name: str
    """`First model` or `Fallback`."""
    policy: str
    """Version of the model, and the engine it was asked on."""
    samples: int
    answer: str
    """Its best answer; `–` where it has none."""
    votes: str
    """Votes for that answer of those that counted."""
    state: Badge
    confidence: str
    stop: str
    """Why no more samples were drawn."""
    served: bool


def stage_rows(group: Group) -> tuple[StageRow, ...]:
    """Every stage in the order in which they were drawn; empty where there was only one."""
    if not group.earlier and group.unused is None:
        return ()
    running = (group.plan, group.tally, group.decision)
    stages: list[tuple[Plan, Tally, Decision | None]] = [_parts(s) for s in group.earlier]
    stages.append(running)
    if group.unused is not None:
        stages.append(_parts(group.unused))
    return tuple(
        _row(group, place, *parts, served=parts is running and group.error is None)
        for place, parts in enumerate(stages)
    )


def _parts(stage: Stage) -> tuple[Plan, Tally, Decision | None]:
    return stage.plan, stage.tally, stage.decision


def _row(
    group: Group, place: int, plan: Plan, tally: Tally, decision: Decision | None, *, served: bool
) -> StageRow:
    winner = _winner(group, decision)
    key = winner.answer.key if winner else None
    votes = dict(tally.votes)
    sure = decision.confidence if decision else None
    return StageRow(
        name="Fallback" if place else "First model",
        policy=f"{show_line(plan.policy, 80) or '–'} on {show_line(plan.engine, 40)}",
        samples=sum(scored.sample.stage == place for scored in group.scored),
        answer=show_line(key, 120) if key is not None else "–",
        votes=f"{votes.get(key or '', 0)} of {sum(votes.values())}" if votes else "none",
        state=BADGES[decision.status if decision else "failed"],
        confidence=show_percent(sure) if sure is not None else "–",
        stop=stop_sentence(plan, tally, decision.stop_reason if decision else ""),
        served=served and decision is not None,
    )


def _winner(group: Group, decision: Decision | None) -> Scored | None:
    if decision is None or decision.winner is None:
        return None
    return group.at(decision.winner)
