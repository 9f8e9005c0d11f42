"""The page about the cache: where answers are kept, and what this gateway made of them.

Numbers of events are those of this process since it started; what is kept is counted where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.cache.base import CacheEvent, CacheStats
from app.ui.shown import show_line
from app.ui.words import Fact

_LOOK_UPS: tuple[tuple[CacheEvent, str, str], ...] = (
    ("hit", "Hits", "a verified answer to exactly this request was served"),
    (
        "negative",
        "Known failures",
        "no answer could be verified shortly before, with as much effort",
    ),
    ("miss", "Misses", "neither was there"),
)
_AFTER_A_MISS: tuple[tuple[CacheEvent, str, str], ...] = (
    ("coalesced", "Shared", "an equal request was running, and its answer was taken"),
    ("reverified", "Checked anew", "an answer of older versions passed today's verifiers"),
    ("near", "Other wordings", "an answer to another wording passed the verifiers on this one"),
)
_FAULTS: tuple[tuple[CacheEvent, str, str], ...] = (
    ("late", "Late", "no answer within the budget of one operation"),
    ("failed", "Failed", "the connection was refused or broke"),
    ("opened", "Bypassed", "times that the server was left alone after three of these in a row"),
    ("write_refused", "Writes refused", "the server is full, or may only be read"),
    (
        "bad_signature",
        "Bad signatures",
        "values that no gateway with this key wrote; none was served",
    ),
    ("taken_over", "Taken over", "flights whose leader shared nothing or died"),
    ("not_readmitted", "Kept out", "answers that had been reported wrong and came up again"),
    ("evicted", "Pushed out", "entries that made room for newer ones"),
)
_STATES = {
    "closed": "It works.",
    "half_open": "It did not answer and is being tried; requests are drawn without it.",
    "open": "It does not answer and is bypassed; requests are drawn without it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One kind of event."""

    name: str
    meaning: str
    number: str
    share: str
    """Of all look-ups; empty where that says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTable:
    title: str
    lead: str
    rows: tuple[EventRow, ...]
    has_shares: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePage:
    """Context of `cache.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    place: str
    """Where entries are kept, in words."""
    state: str
    """Whether it works, in words."""
    works: bool
    """False while it is bypassed."""
    fault: str
    """Why it is bypassed; empty while it works."""
    facts: tuple[Fact, ...]
    """What is kept now."""
    tables: tuple[EventTable, ...]
    """What look-ups came to; then what went wrong or was kept off, where something was."""


def cache_page(stats: CacheStats, *, session: bool) -> CachePage:
    """Pure."""
    more = "" if stats.complete else "at least; more could not be counted in time"
    return CachePage(
        title="Cache",
        session=session,
        place=_place(stats.place),
        state=_STATES[stats.state],
        works=stats.state == "closed",
        fault=show_line(stats.fault, 200),
        facts=(
            Fact(name="Verified answers", value=f"{stats.entries:,}", help=more),
            Fact(name="Known failures", value=f"{stats.negatives:,}", help=more),
            Fact(name="Size", value=show_bytes(stats.bytes), help=more),
            Fact(name="In flight here", value=f"{stats.flights:,}"),
        ),
        tables=(_look_ups(stats.events), *_faults(stats.events)),
    )


def _look_ups(numbers: Mapping[CacheEvent, int]) -> EventTable:
    looked = sum(numbers.get(event, 0) for event, _, _ in _LOOK_UPS)
    return EventTable(
        title="What look-ups came to",
        lead="In this process since it started. A miss that was shared, checked anew or found in "
        "another wording drew nothing either.",
        rows=tuple(
            EventRow(
                name=name,
                meaning=meaning,
                number=f"{numbers.get(event, 0):,}",
                share=f"{100 * numbers.get(event, 0) / looked:.1f} %" if looked else "",
            )
            for event, name, meaning in (*_LOOK_UPS, *_AFTER_A_MISS)
        ),
        has_shares=bool(looked),
    )


def _faults(numbers: Mapping[CacheEvent, int]) -> tuple[EventTable, ...]:
    rows = tuple(
        EventRow(name=name, meaning=meaning, number=f"{numbers[event]:,}", share="")
        for event, name, meaning in _FAULTS
        if numbers.get(event)
    )
    table = EventTable(
        title="What else happened",
        lead="Nothing of this made a request fail or an answer wrong.",
        rows=rows,
        has_shares=False,
    )
    return (table,) if rows else ()


def show_bytes(size: int) -> str:
    """`512 B`, `1.5 kB`, `23 MB`: powers of 1,000."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1_000:
            break
        value, unit = value / 1_000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def _place(place: str) -> str:
    if place == "memory://":
        return "Verified answers are kept in the memory of this process and end with it."
    return (
        f"Verified answers are kept at {show_line(place, 200)}, for all gateways with the same key."
    )
