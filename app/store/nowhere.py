"""A store that keeps nothing: for requests that are no part of the log."""

from __future__ import annotations

from app.errors import NotFound
from app.group import Group
from app.store.base import Label, StoreHealth, TraceFilter, TracePage


class NowhereStore:
    """Implements `app.store.base.Store`."""

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def append(self, group: Group) -> None:
        """It is forgotten."""

    async def get(self, trace_id: str, *, tenant: str | None = None) -> Group | None:
        return None

    async def list(self, wanted: TraceFilter) -> TracePage:
        return TracePage(rows=(), next_before=None)

    async def add_label(self, label: Label) -> None:
        raise NotFound(f"there is no trace '{label.trace_id}'", param="trace_id")

    async def note_verdicts(
        self, verifier: str, *, since: float, at: float, author: str, note: str
    ) -> tuple[str, ...]:
        return ()

    async def labels(self, trace_id: str) -> tuple[Label, ...]:
        return ()

    async def health(self) -> StoreHealth:
        return StoreHealth(writable=True, database=True, spool_depth=0, spool_oldest_s=None)
