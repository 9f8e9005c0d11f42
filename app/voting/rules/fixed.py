"""`fixed`: self-consistency (arXiv 2203.11171), every sample up to the cap, whatever they say."""

from __future__ import annotations

from app.group import Group


class Fixed:
    curtails = False

    def settled(self, group: Group) -> str | None:
        return None

    def needed(self, group: Group) -> int:
        return max(1, group.plan.cap - len(group.current))
