"""What follows when a verifier passed a known-bad answer: its verdicts since it last caught one are
in doubt. The traces that hold them say so, and their answers are no longer served from the cache.

A stored group is never changed: the mark is a note beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from app.cache.base import Cache
from app.errors import StoreError
from app.metrics import observe_canary
from app.store.base import CANARY_AUTHOR, Store

log = logging.getLogger("verivote.doubts")


class Doubts:
    """Hears of every canary. `clock` is Unix time in seconds."""

    def __init__(self, store: Store, cache: Cache, clock: Callable[[], float]) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock
        self._marking: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Finish what was begun."""
        await asyncio.gather(*self._marking)

    def hear(self, verifier: str, caught: bool, doubtful: int, since: float) -> None:
        """Count the canary; mark what is in doubt when it was not caught. Never blocks."""
        observe_canary(verifier, caught, doubtful)
        if not caught:
            task = asyncio.create_task(self._mark(verifier, since))
            self._marking.add(task)
            task.add_done_callback(self._marking.discard)

    async def _mark(self, verifier: str, since: float) -> None:
        note = f"Verdicts of '{verifier}' are in doubt: it passed a known-bad answer."
        try:
            marked = await self._store.note_verdicts(
                verifier, since=since, at=self._clock(), author=CANARY_AUTHOR, note=note
            )
        except StoreError as error:
            log.error("the verdicts of '%s' could not be marked: %s", verifier, error.message)
            return
        for trace_id in marked:
            # The answers are not known to be wrong: a verifier that works may admit them again.
            await self._cache.delete(trace_id, refuse=False)
        log.error("%d traces with verdicts of '%s' were marked", len(marked), verifier)
