"""`margin`: the leader is `plan.margin` votes ahead of the runner-up, as votes weigh.

Three ahead is what the sequential tests of ConSol (arXiv 2503.17587) come to at their defaults.
"""

from __future__ import annotations

import math

from app.group import Group
from app.voting.scorers import MOST


class Margin:
    curtails = True

    def settled(self, group: Group) -> str | None:
        return "margin" if group.tally.lead >= group.plan.margin else None

    def needed(self, group: Group) -> int:
        return fewest_to(group.plan.margin, group)


def fewest_to(lead: float, group: Group) -> int:
    """The fewest further samples that could bring the leader so far ahead, at least 1."""
    missing = lead - group.tally.lead
    # Without votes yet all weigh one: they weigh more or less only by what others said.
    heaviest = MOST if group.tally.weights else 1.0
    return max(1, math.ceil(missing / heaviest))
