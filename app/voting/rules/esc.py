"""`esc`: early-stopping self-consistency (arXiv 2401.10480) with its published window of five.

Samples come in windows; it stops when all five of a window gave the same answer. A sample without
an answer breaks its window. Samples count in the order in which they arrived.
"""

from __future__ import annotations

from app.group import Group
from app.sample import Scored
from app.voting.tally import can_vote

WINDOW = 5


class Esc:
    curtails = True

    def settled(self, group: Group) -> str | None:
        drawn = group.current
        windows = (drawn[i : i + WINDOW] for i in range(0, len(drawn) - WINDOW + 1, WINDOW))
        return "window" if any(_agree(window) for window in windows) else None

    def needed(self, group: Group) -> int:
        drawn = group.current
        begun = len(drawn) % WINDOW
        rest = WINDOW - begun
        return rest if not begun or _agree(drawn[-begun:]) else rest + WINDOW


def _agree(window: tuple[Scored, ...]) -> bool:
    keys = {scored.answer.key if can_vote(scored) else None for scored in window}
    return len(keys) == 1 and None not in keys
