"""The store contract: groups are appended once, read back as groups, and labelled.

`append` is durable before it returns; the database behind it may be away. Reads see what was
appended before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.group import Group

LabelKind = Literal["right", "wrong", "note"]
CANARY_AUTHOR = "canary"
"""Author of the notes that put the verdicts of a trace in doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilter:
    """Which groups to list; None means any. Newest first."""

    tenant: str | None = None
    status: str | None = None
    """A decision status, or `failed` for groups with an error."""
    route: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    quick: Literal["split", "verifier_error", "cached", "unlabelled"] | None = None
    search: str | None = None
    """Substring of the prompt preview or a trace id."""
    since: float | None = None
    until: float | None = None
    """Unix seconds, half open."""
    limit: int = 50
    before: str | None = None
    """Trace id of the last row of the page before (ids sort by time)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """One row of the trace list, read without touching the payloads."""

    trace_id: str
    received_at: float
    tenant: str
    model: str
    route: str
    status: str
    """Decision status, or `failed`."""
    stop_reason: str
    prompt_preview: str
    """First 120 characters; empty where content is not kept."""
    answer: str | None
    samples: int
    rounds: int
    votes: tuple[tuple[str, int], ...]
    """Every answer that was said and how often, refuted ones too."""
    agreement: float | None
    """The served answer's share of them."""
    verdicts: tuple[tuple[str, int], ...]
    """Count per status over all verdicts."""
    prompt_tokens: int
    completion_tokens: int
    duration_ms: float
    cache_hit: bool
    degraded: tuple[str, ...]
    labels: tuple[LabelKind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePage:
    rows: tuple[TraceSummary, ...]
    next_before: str | None
    """Pass as `before` for the next page; None on the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What somebody said about an answer. A separate row; the group never changes."""

    id: str
    """ULID."""
    trace_id: str
    kind: LabelKind
    created_at: float
    author: str
    """Tenant or key id that said it."""
    sample: int | None = None
    """The sample it is about; None means the served answer."""
    correction: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    writable: bool
    database: bool
    """False while the database is away; the spool keeps growing."""
    spool_depth: int
    spool_oldest_s: float | None
    rejected: int = 0
    """Groups that the database refused, kept in the spool with the error."""
    content_dropped: int = 0
    """Groups kept without content because the spool was nearly full, since start."""
    rows_dropped: int = 0
    """Groups not kept because it was full, since start."""


class Store(Protocol):
    async def start(self) -> None: ...

    async def close(self) -> None:
        """Drain what can be drained and sync the spool."""
        ...

    async def append(self, group: Group) -> None:
        """Durable before it returns. Raises `StoreError` when the spool cannot be written."""
        ...

    async def get(self, trace_id: str, *, tenant: str | None = None) -> Group | None: ...

    async def list(self, wanted: TraceFilter) -> TracePage: ...

    async def add_label(self, label: Label) -> None: ...

    async def note_verdicts(
        self, verifier: str, *, since: float, at: float, author: str, note: str
    ) -> tuple[str, ...]:
        """Put a note beside every group finished since then (Unix seconds) that holds a verdict of
        this verifier; their trace ids. Raises `StoreError` when the database is away."""
        ...

    async def labels(self, trace_id: str) -> tuple[Label, ...]: ...

    async def health(self) -> StoreHealth: ...
