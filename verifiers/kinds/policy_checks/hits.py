"""One thing that a policy forbids, found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """What was found; the text itself never leaves this process whole."""

    kind: str
    """E.g. `email`, `api_key`, `host`, `topic`."""
    text: str

    @property
    def masked(self) -> str:
        """Enough to find the place, too little to use: the first characters and the length."""
        shown = min(3, len(self.text) // 4)
        return f"{self.text[:shown]}… ({len(self.text)} characters)"
