"""Canary answers: known-bad candidates that a verifier must never pass.

At a set rate a verifier is shown one of its own canaries beside a real candidate. One that passes
puts the verifier out of use: its verdicts are errors from then on, and those since the last good
canary are in doubt; the interval is kept, logged and handed to `on_canary`. A canary that cannot be
judged says nothing. What was stored meanwhile is marked by whoever listens.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("verifiers.canaries")


@dataclass(slots=True, kw_only=True)
class Watched:
    """What is known of one verifier."""

    since: float
    """Unix time of the last good canary, or of the first verdict."""
    verdicts: int = 0
    """Verdicts since then, each of them in doubt should the next canary pass."""
    is_out: bool = False


OnCanary = Callable[[str, bool, int, float], None]
"""Called with the verifier's name, whether it caught the canary, how many verdicts that leaves in
doubt, and the Unix time of the first of them."""


class CanaryWatch:
    """Whose turn it is to see a canary, and who is out. One a runner.

    `key` names a verifier; that of a judge has its rubric in it, because a rubric of a client must
    not put every other judge out of use.
    """

    def __init__(
        self,
        *,
        rate: float,
        rng: random.Random,
        clock: Callable[[], float] = time.time,
        on_canary: OnCanary | None = None,
    ) -> None:
        self._rate = rate
        self._rng = rng
        self._clock = clock
        self._on_canary = on_canary
        self._watched: dict[str, Watched] = {}

    def is_due(self) -> bool:
        return self._rng.random() < self._rate

    def pick(self, count: int) -> int:
        return self._rng.randrange(count)

    def is_out(self, key: str) -> bool:
        return key in self._watched and self._watched[key].is_out

    def out(self) -> dict[str, Watched]:
        """The verifiers that let a canary pass, with the interval that is in doubt."""
        return {key: watched for key, watched in self._watched.items() if watched.is_out}

    def count(self, key: str) -> None:
        """A verdict was given."""
        self._of(key).verdicts += 1

    def caught(self, key: str, name: str) -> None:
        """A canary failed, as it must: all verdicts until now stand."""
        watched = self._of(key)
        watched.since, watched.verdicts = self._clock(), 0
        self._tell(name, True, watched)

    def passed(self, key: str, name: str) -> None:
        """A canary passed: the verifier is out."""
        watched = self._of(key)
        watched.is_out = True
        log.error(
            "verifier '%s' passed a known-bad answer and is out of use; "
            "%d verdicts since unix time %.3f are in doubt",
            name,
            watched.verdicts,
            watched.since,
        )
        self._tell(name, False, watched)

    def _of(self, key: str) -> Watched:
        if key not in self._watched:
            if len(self._watched) >= MAX_WATCHED:
                still_in = (k for k, watched in self._watched.items() if not watched.is_out)
                self._watched.pop(next(still_in, next(iter(self._watched))))
            self._watched[key] = Watched(since=self._clock())
        return self._watched[key]

    def _tell(self, name: str, caught: bool, watched: Watched) -> None:
        if self._on_canary is not None:
            self._on_canary(name, caught, watched.verdicts, watched.since)


MAX_WATCHED = 10_000
"""Judges with different rubrics that are remembered."""
