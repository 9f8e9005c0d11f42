"""The stop rules by name. A rule only counts: it never looks at a text, a clock or a random number.

All of them see the running stage (`group.current`, `group.tally`). What they share is not here but
in `app/voting/stop.py`: a proven answer ends every vote, the cap does, and so does a leader that
nobody can overtake any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.task import RuleName
from app.voting.rules.adaptive import Adaptive
from app.voting.rules.base import Rule
from app.voting.rules.certified import Certified
from app.voting.rules.esc import Esc
from app.voting.rules.exact import Exact
from app.voting.rules.fixed import Fixed
from app.voting.rules.margin import Margin
from app.voting.rules.two_kinds import TwoKinds

__all__ = ["RULES", "Rule"]

RULES: Mapping[RuleName, Rule] = {
    "margin": Margin(),
    "two_kinds": TwoKinds(),
    "adaptive": Adaptive(),
    "esc": Esc(),
    "fixed": Fixed(),
    "certified": Certified(),
    "exact": Exact(),
}
