"""`margin`: the leader is `plan.margin` votes ahead of the runner-up.

Three ahead is what the sequential tests of ConSol (arXiv 2503.17587) come to at their defaults.
"""

from __future__ import annotations

from app.group import Group


class Margin:
    curtails = True

    def settled(self, group: Group) -> str | None:
        return "margin" if group.tally.margin >= group.plan.margin else None

    def needed(self, group: Group) -> int:
        return max(1, group.plan.margin - group.tally.margin)
