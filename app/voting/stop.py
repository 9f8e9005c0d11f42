"""When to stop drawing, and how many samples to draw next.

The rule of the plan says when a vote is settled (`app/voting/rules`). A round is the fewest further
samples that could settle it, so rounds cost the same samples as drawing one by one: for the default
margin of three, three at once, then what is missing to a lead of three. Under every rule the stage
also ends with a proven answer, at the cap, and when nobody can overtake the leader any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.group import Group
from app.plan import Draw
from app.voting.rules import RULES
from app.voting.rules.two_kinds import programs_among
from app.voting.tally import is_proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Draw no more; `reason` is one of the words below."""

    reason: str
    """`verified`, `ahead`, `single`, `cap`, or the rule's own: `margin`, `two_kinds`, `adaptive`,
    `window`, `certified`. The gateway adds `deadline`, `engine` and `samples`."""


def next_step(group: Group, *, seed: int) -> Draw | Stop:
    """The next round of this stage, or why there is none. `seed` is for the round if drawn."""
    plan = group.plan
    if reason := settled_by(group, in_flight=0):
        return Stop(reason=reason)
    drawn = len(group.current)
    if drawn >= plan.cap:
        return Stop(
            reason="cap" if plan.cap > plan.first_round or plan.route == "hard" else "single"
        )
    n = min(_wanted(group), plan.cap - drawn)
    return Draw(
        round=group.rounds + 1,
        n=n,
        first_index=_next_index(group),
        seed=seed,
        programs=programs_among(group, n),
    )


def settled_by(group: Group, *, in_flight: int) -> str | None:
    """The reason why samples still in flight cannot or need not change the answer, else None.

    `in_flight`: samples of the running round that have not been scored. Those that are not drawn
    yet count for the stage's cap too, so this asks only what has arrived.
    """
    plan = group.plan
    ended = [scored for scored in group.current if scored.sample.finish_reason is not None]
    if len(ended) < group.task.choices:
        return None
    if any(is_proven(scored) for scored in ended):
        return "verified"
    if plan.route != "hard":
        stands = in_flight == 0 and any(_stands(group, scored.sample.index) for scored in ended)
        return "single" if stands else None
    rule = RULES[plan.rule]
    if reason := rule.settled(group):
        return reason
    left = plan.cap - len(group.current)
    if _curtails(group) and left > 0 and group.tally.margin > left:
        return "ahead"
    return None


def _curtails(group: Group) -> bool:
    """Whether a leader that cannot be overtaken ends the vote. Where votes are weighed, a sample
    still to come can make those before it lighter, so nobody is ever out of reach."""
    return RULES[group.plan.rule].curtails and not group.tally.weights


def _wanted(group: Group) -> int:
    """Samples of the next round, the cap apart."""
    plan = group.plan
    rule = RULES[plan.rule]
    needed = rule.needed(group)
    if _curtails(group):
        left = plan.cap - len(group.current)
        needed = min(needed, max(1, (left - group.tally.margin) // 2 + 1))
    if group.current:
        return needed
    # A first round that no vote could settle is only a round lost, unless one sample can be proof.
    provable = any(ref.decisive for ref in plan.verifiers)
    votes = plan.route == "hard" and not provable
    return max(plan.first_round, needed) if votes else plan.first_round


def _next_index(group: Group) -> int:
    """One past everything numbered so far: an engine counts samples and calls from it."""
    numbered = [scored.sample.index for scored in group.scored]
    numbered += [call.index for call in group.calls]
    return max(numbered, default=-1) + 1


def _stands(group: Group, index: int) -> bool:
    """One sample is enough on the easy path when no verifier refuted it or failed to check it."""
    return all(verdict.status != "fail" for verdict in group.at(index).verdicts)
