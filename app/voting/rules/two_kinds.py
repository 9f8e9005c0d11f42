"""`two_kinds`: a text and a program that agree are worth one vote more than two of a kind.

Samples are drawn alternately as text and as program. The leader has to be `plan.margin` ahead, or
one less when it has votes of both kinds. Where all samples are of one kind, it is `margin`.
Which kind comes first is decided by the plan's seed: ties go to the answer that was drawn first,
so a fixed order would favour one kind.
"""

from __future__ import annotations

from app.group import Group
from app.sample import SampleKind
from app.voting.rules.margin import fewest_to
from app.voting.tally import can_vote


class TwoKinds:
    curtails = True

    def settled(self, group: Group) -> str | None:
        lead, enough = group.tally.lead, group.plan.margin
        if lead >= enough:
            return "margin"
        if lead > 0 and lead >= enough - 1 and len(_leading_kinds(group)) == 2:
            return "two_kinds"
        return None

    def needed(self, group: Group) -> int:
        fewest = fewest_to(group.plan.margin - 1, group)
        if fewest > 1:
            return fewest
        kinds = _leading_kinds(group) | {kind_of(group, len(group.current))}
        return fewest if len(kinds) == 2 else fewest_to(group.plan.margin, group)


def programs_among(group: Group, n: int) -> int:
    """How many of the next `n` samples are drawn as programs."""
    if group.plan.rule != "two_kinds":
        return 0
    drawn = len(group.current)
    return sum(kind_of(group, drawn + i) == "program" for i in range(n))


def kind_of(group: Group, position: int) -> SampleKind:
    """The kind of the stage's sample number `position`, from 0."""
    return "program" if (group.plan.seed + position) % 2 else "text"


def _leading_kinds(group: Group) -> set[SampleKind]:
    """The kinds of the samples that voted for the leader."""
    leader = group.tally.leader
    if leader is None:
        return set()
    return {s.sample.kind for s in group.current if s.answer.key == leader and can_vote(s)}
