"""Caps of the strict engine: on the text before parsing, on the tree, and while computing."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_DIGIT_RUN = 256
MAX_NESTING = 64
MAX_BITS = 4_096
"""Size of one integer while computing; a power is measured before it is taken."""


class NotMath(ValueError):
    """The strict engine has no opinion on this text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """Short code: `unparsable`, `ambiguous`, `too_complex`, `undefined`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one answer may cost."""

    chars: int
    nodes: int
    steps: int
    """Multiplications of terms, weighted by their digits."""


INLINE = Limits(chars=400, nodes=120, steps=200)
"""For vote keys on the event loop: under a millisecond."""
WORKER = Limits(chars=4_096, nodes=512, steps=15_000)
"""For verdicts in a killable process."""


class Work:
    """What is left of a budget."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.steps

    def spend(self, steps: int) -> None:
        self.need(steps)
        self._left -= steps

    def need(self, steps: int) -> None:
        """Refuse now what would cost this much later."""
        if steps > self._left:
            raise NotMath("too_complex")


def refuse_bombs(text: str, limits: Limits) -> None:
    """Refuse by length, digit runs and nesting alone: nothing is parsed before this."""
    if len(text) > limits.chars or _DIGIT_RUN.search(text):
        raise NotMath("too_complex")
    depth = 0
    for mark in _MARK.findall(text):
        depth += 1 if mark in "([{^_" else -1 if mark in ")]}" else 0
        if depth > MAX_NESTING:
            raise NotMath("too_complex")


_DIGIT_RUN = re.compile(rf"[0-9]{{{MAX_DIGIT_RUN + 1}}}")
_MARK = re.compile(r"[(\[{)\]}^_]")
