"""When to stop drawing, and how many samples to draw next.

`margin`: draw the deficit to a lead of three at once, then again, until the leader is that far
ahead or the cap is reached. It costs the same samples as drawing one by one, in far fewer rounds;
three in a row is what the sequential tests of ConSol (arXiv 2503.17587) come to at their defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.group import Draw, Group
from app.voting.tally import is_proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Draw no more; `reason` is one of the words below."""

    reason: str
    """`verified`, `margin`, `ahead`, `single`, `cap`, `deadline`."""


def next_step(group: Group, *, seed: int) -> Draw | Stop:
    """The next round of this group, or why there is none. `seed` is for the round if drawn."""
    plan = group.plan
    if reason := settled_by(group, in_flight=0):
        return Stop(reason=reason)
    drawn = len(group.scored)
    if drawn >= plan.cap:
        return Stop(
            reason="cap" if plan.cap > plan.first_round or plan.route == "hard" else "single"
        )
    wanted = plan.first_round if drawn == 0 else max(1, plan.margin - group.tally.margin)
    return Draw(
        round=group.rounds + 1,
        n=min(wanted, plan.cap - drawn),
        first_index=_next_index(group),
        seed=seed,
    )


def _next_index(group: Group) -> int:
    """One past everything numbered so far: an engine counts samples and calls from it."""
    numbered = [scored.sample.index for scored in group.scored]
    numbered += [call.index for call in group.calls]
    return max(numbered, default=-1) + 1


def settled_by(group: Group, *, in_flight: int) -> str | None:
    """The reason why samples still in flight cannot or need not change the answer, else None.

    `in_flight`: samples of the running round that have not been scored.
    """
    plan = group.plan
    ended = [scored for scored in group.scored if scored.sample.finish_reason is not None]
    if len(ended) < group.task.choices:
        return None
    if any(is_proven(scored) for scored in ended):
        return "verified"
    if plan.route != "hard":
        stands = in_flight == 0 and any(_stands(group, scored.sample.index) for scored in ended)
        return "single" if stands else None
    if group.tally.margin >= plan.margin:
        return "margin"
    last_round = len(group.scored) + in_flight >= plan.cap
    if last_round and in_flight and group.tally.margin > in_flight:
        return "ahead"
    return None


def _stands(group: Group, index: int) -> bool:
    """One sample is enough on the easy path when no verifier refuted it or failed to check it."""
    return all(verdict.status != "fail" for verdict in group.at(index).verdicts)
