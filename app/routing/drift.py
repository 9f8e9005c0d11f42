"""Page–Hinkley: notices that the mean of a stream has moved, soon and with few false alarms.

Two sums run along the stream, of how far each value lies above and below the mean so far, less what
is tolerated (E. S. Page 1954; D. Hinkley 1971). When a sum has come `LAMBDA` away from its own
extreme, the mean has moved. What that costs and how soon it comes is measured by bench/router.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

TOLERATED = 0.05
"""A mean may wander this far without anyone minding."""
LAMBDA = 15.0
FEWEST = 30
"""Values before the first alarm: the mean must be known before it can move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageHinkley:
    """The sums after `count` values, for a move in either direction."""

    count: int = 0
    mean: float = 0.0
    fallen: float = 0.0
    """How far the values have lain below the mean since they last did not."""
    risen: float = 0.0

    def after(self, value: float) -> PageHinkley:
        count = self.count + 1
        mean = self.mean + (value - self.mean) / count
        return replace(
            self,
            count=count,
            mean=mean,
            fallen=max(0.0, self.fallen + mean - value - TOLERATED),
            risen=max(0.0, self.risen + value - mean - TOLERATED),
        )

    @property
    def has_moved(self) -> bool:
        return self.count >= FEWEST and max(self.fallen, self.risen) > LAMBDA

    def to_state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PageHinkley:
        """Raises TypeError when the state is not of this form."""
        return cls(**state)
