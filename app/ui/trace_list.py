"""The list of traces: what its URL asks for, and its rows as values.

Filters live in the URL, so every view can be sent to somebody. Nothing here reads the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, get_args
from urllib.parse import urlencode

from app.errors import RequestError
from app.group import DecisionStatus
from app.plan import Route
from app.store.base import TraceFilter, TracePage, TraceSummary
from app.ui.shown import show_line, show_ms
from app.ui.words import BADGES, Badge

QuickView = Literal["split", "verifier_error", "cached", "unlabelled"]
PAGE_ROWS = 50
STATUSES = (*get_args(DecisionStatus), "failed")
ROUTES = get_args(Route)

_QUICK: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("All", {}),
    ("Unverified", {"status": "unverified"}),
    ("Split vote", {"view": "split"}),
    ("Verifier error", {"view": "verifier_error"}),
    ("Cached", {"view": "cached"}),
    ("Needs label", {"view": "unlabelled"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """What the URL of the list asks for; empty strings mean any."""

    view: str = ""
    status: str = ""
    route: str = ""
    model: str = ""
    q: str = ""
    before: str = ""

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> ListQuery:
        """Raises `RequestError` that names the parameter; unknown parameters are ignored."""
        known = {"status": STATUSES, "route": ROUTES, "view": get_args(QuickView)}
        for name, values in known.items():
            value = params.get(name, "")
            if value and value not in values:
                raise RequestError(
                    f"{name} is '{show_line(value, 60)}'; known: {', '.join(values)}", param=name
                )
        return cls(**{name: params.get(name, "").strip()[:200] for name in cls.__slots__})

    def to_filter(self, tenant: str | None) -> TraceFilter:
        quick = next((view for view in get_args(QuickView) if view == self.view), None)
        return TraceFilter(
            tenant=tenant,
            status=self.status or None,
            route=self.route or None,
            model=self.model or None,
            quick=quick,
            search=self.q or None,
            limit=PAGE_ROWS,
            before=self.before or None,
        )

    def href(self) -> str:
        asked = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}
        return "/traces" + (f"?{urlencode(asked)}" if asked else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickLink:
    label: str
    href: str
    current: bool
    """True when the page shows this view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One part of a votes bar, in percent of its width."""

    x: float
    width: float
    leads: bool
    """True for the answer with the most votes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    trace_id: str
    href: str
    at: str
    """`24 Nov 12:00:01`, UTC."""
    at_iso: str
    """The same instant for machines."""
    prompt: str
    """Preview; empty where content is not kept."""
    answer: str
    """The extracted answer; empty without one."""
    status: Badge
    route: str
    votes: str
    """`2 of 5`: votes of the leader and votes cast; empty when nobody voted."""
    slices: tuple[Slice, ...]
    """The votes bar, leader first."""
    samples: int
    rounds: int
    tokens: str
    """Prompt and completion tokens together."""
    tokens_help: str
    """The two parts apart."""
    latency: str
    cached: bool
    model: str
    labels: tuple[str, ...]
    """`right`, `wrong`, `note`, in the order they were given."""
    degraded: str
    """What was away or lost; empty when nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceList:
    """Context of `list.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    query: ListQuery
    """What the URL asked for."""
    quick: tuple[QuickLink, ...]
    """The quick views."""
    statuses: tuple[str, ...]
    """Choices of the status filter."""
    routes: tuple[str, ...]
    """Choices of the route filter."""
    models: tuple[str, ...]
    """Models of the rows shown, as suggestions."""
    rows: tuple[TraceRow, ...]
    """Newest first."""
    older: str
    """Address of the next page; empty on the last."""
    newest: str
    """Address of the first page; empty on it."""
    is_filtered: bool
    """True when an empty list may be due to the filters."""
    first_call: str
    """A curl line that makes the first trace."""


def trace_list(page: TracePage, query: ListQuery, *, base_url: str, session: bool) -> TraceList:
    """The page's context. `base_url`: address of the gateway as the reader sees it."""
    first = replace(query, before="")
    return TraceList(
        title="Traces",
        session=session,
        query=query,
        quick=tuple(_quick_link(label, changes, first) for label, changes in _QUICK),
        statuses=STATUSES,
        routes=ROUTES,
        models=tuple(sorted({row.model for row in page.rows if len(row.model) <= 80})),
        rows=tuple(_row(summary) for summary in page.rows),
        older=replace(query, before=page.next_before).href() if page.next_before else "",
        newest=first.href() if query.before else "",
        is_filtered=query != ListQuery(),
        first_call=_first_call(base_url, session),
    )


def _quick_link(label: str, changes: Mapping[str, str], query: ListQuery) -> QuickLink:
    """A quick view replaces view and status and keeps the other filters."""
    wanted = replace(query, **{"view": "", "status": "", **changes})
    return QuickLink(label=label, href=wanted.href(), current=wanted == query)


def _row(summary: TraceSummary) -> TraceRow:
    at = datetime.fromtimestamp(summary.received_at, UTC)
    cast = sum(count for _, count in summary.votes)
    prompt, completion = summary.prompt_tokens, summary.completion_tokens
    return TraceRow(
        trace_id=summary.trace_id,
        href=f"/traces/{summary.trace_id}",
        at=f"{at:%d %b %H:%M:%S}",
        at_iso=at.isoformat(timespec="milliseconds"),
        prompt=show_line(summary.prompt_preview, 120),
        answer=show_line(summary.answer or "", 60),
        status=BADGES.get(summary.status, Badge(kind="unverified", word=summary.status)),
        route=summary.route,
        votes=f"{summary.votes[0][1]} of {cast}" if cast else "",
        slices=_slices([count for _, count in summary.votes]),
        samples=summary.samples,
        rounds=summary.rounds,
        tokens=f"{prompt + completion:,}",
        tokens_help=f"{prompt:,} in the prompt, {completion:,} drawn",
        latency=show_ms(summary.duration_ms),
        cached=summary.cache_hit,
        model=show_line(summary.model, 40),
        labels=tuple(dict.fromkeys(summary.labels)),
        degraded=", ".join(summary.degraded),
    )


def _slices(counts: list[int]) -> tuple[Slice, ...]:
    """Parts of one bar; past five the rest is one part."""
    shown = counts[:5] + ([sum(counts[5:])] if counts[5:] else [])
    total = sum(shown)
    if not total:
        return ()
    slices, x = [], 0.0
    for place, count in enumerate(shown):
        width = 100 * count / total
        slices.append(Slice(x=round(x, 2), width=round(width, 2), leads=place == 0))
        x += width
    return tuple(slices)


def _first_call(base_url: str, session: bool) -> str:
    key = ' -H "Authorization: Bearer $OPENAI_API_KEY"' if session else ""
    return (
        f"curl {base_url}/v1/chat/completions{key} -H 'Content-Type: application/json' "
        '-d \'{"model": "auto", '
        '"messages": [{"role": "user", "content": "What is 17 * 24 + 3?"}]}\''
    )
