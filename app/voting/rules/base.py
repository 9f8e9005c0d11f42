"""What a stop rule is."""

from __future__ import annotations

from typing import Protocol

from app.group import Group


class Rule(Protocol):
    """When the votes of the running stage are enough."""

    @property
    def curtails(self) -> bool:
        """Whether a leader that cannot be overtaken before the cap ends the vote too."""

    def settled(self, group: Group) -> str | None:
        """The stop reason when the vote is settled, else None."""

    def needed(self, group: Group) -> int:
        """The fewest further samples that could settle it, at least 1; the cap is not looked at.

        Drawing as many at once never costs a sample more than drawing one by one.
        """
