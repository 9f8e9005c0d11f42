"""`exact`: the answer of `fixed`, at fewer samples: it stops when no later vote can change it."""

from __future__ import annotations

from app.group import Group


class Exact:
    curtails = True

    def settled(self, group: Group) -> str | None:
        return None

    def needed(self, group: Group) -> int:
        return max(1, group.plan.cap - len(group.current))
