"""Whether the traffic has moved: two windows of the log side by side, as a page and in a report.

It reads the JSON of `app/retrain/moving.py` and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from app.errors import RequestError
from app.retrain.drift import FEW, MAJOR, MODERATE
from app.retrain.moving import BEFORE_DAYS, DAYS, MOST_DAYS
from app.ui.plots import Axis, Span, span
from app.ui.shown import show_line
from app.ui.trace_list import QuickLink
from app.ui.words import Badge

Json = Mapping[str, Any]

PROPERTIES: Mapping[str, tuple[str, str]] = {
    "prompt_chars": ("Length of prompts", "characters"),
    "completion_tokens": ("Length of answers", "tokens a sample"),
    "samples": ("Samples", "of a request"),
    "difficulty": ("Difficulty", "as the router guesses it, 0 to 1"),
    "agreement": ("Agreement", "votes for the leader, as a share"),
    "reward": ("Reward", "mean of a request's samples"),
    "task": ("Kinds of tasks", "share of each"),
    "route": ("Routes", "share of each"),
    "status": ("Ends", "verified, agreed, unverified, held or failed"),
    "verdicts": ("Verdicts", "of the first sample, by verifier"),
}
"""Property → name and what is measured."""

CHOICES = ((1, 7), (7, 28), (28, 84))
"""Days that are offered: the last ones, and those before to compare with."""

AXIS = Axis(least=0.0, most=1.0)
"""Of PSIs; one that is larger ends where the axis does, so that the bands stay apart."""
_SAME = Badge(kind="abstain", word="Not drifted")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftQuery:
    """What the address of the page asks for."""

    days: int
    """Up to now."""
    before: int
    """Days before those."""
    engine: str
    """Empty: all of them."""

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> DriftQuery:
        """Raises `RequestError` for days that are none."""
        return cls(
            days=_days_of(params, "days", DAYS),
            before=_days_of(params, "before", BEFORE_DAYS),
            engine=params.get("engine", ""),
        )


def _days_of(params: Mapping[str, str], name: str, usual: int) -> int:
    said = params.get(name) or str(usual)
    if len(said) > 4 or not said.isdecimal() or not 1 <= int(said) <= MOST_DAYS:
        wrong = show_line(said, 20)
        raise RequestError(f"{name} is '{wrong}'; give days from 1 to {MOST_DAYS}.", param=name)
    return int(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedRow:
    """One property in both windows."""

    name: str
    help: str
    shift: str
    """From what to what."""
    psi: str
    band: str
    """`stable`, `moderate` or `major`."""
    q: str
    state: Badge
    """Whether that is called drift."""
    span: Span
    """From 0 to the PSI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftView:
    """Two windows of the log, compared."""

    sentence: str
    windows: tuple[str, ...]
    """The later one first."""
    rows: tuple[MovedRow, ...]
    """Furthest first."""
    not_compared: str
    """Properties with too few values, in words; empty when there is none."""
    end: str
    """Right end of the plots' axis; the left one is 0."""
    bands: tuple[float, float]
    """Where moderate and major begin, in percent of the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPage:
    """Context of `drift.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    choices: tuple[QuickLink, ...]
    """Other windows to look at."""
    drift: DriftView
    """What was found."""


def drift_page(moving: Json, query: DriftQuery, *, session: bool) -> DriftPage:
    """Pure."""
    return DriftPage(
        title="Drift",
        session=session,
        choices=tuple(
            QuickLink(
                label=f"{_days(last)} against {_days(earlier)} before",
                href="/drift?" + urlencode(_query(last, earlier, query.engine)),
                current=(last, earlier) == (query.days, query.before),
            )
            for last, earlier in CHOICES
        ),
        drift=drift_view(moving),
    )


def drift_view(moving: Json) -> DriftView:
    """Pure."""
    return DriftView(
        sentence=_sentence(moving),
        windows=(_window("Now", moving["after"]), _window("Before", moving["before"])),
        rows=tuple(_row(moved) for moved in moving["moved"]),
        not_compared=", ".join(_name(name).lower() for name in moving["not_compared"]),
        end=f"{AXIS.most:g} or more",
        bands=(AXIS.place(MODERATE), AXIS.place(MAJOR)),
    )


def _query(days: int, before: int, engine: str) -> dict[str, str]:
    asked = {"days": str(days), "before": str(before)}
    return asked | ({"engine": engine} if engine else {})


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _sentence(moving: Json) -> str:
    whose = f" of {show_line(moving['engine'], 80)}" if moving["engine"] else ""
    if not moving["moved"]:
        return f"A window has fewer than {FEW} groups{whose}, so nothing can be compared."
    if not moving["drifted"]:
        return f"The traffic{whose} is that of before, as far as it matters."
    moved = ", ".join(_name(name).lower() for name in moving["drifted"])
    return f"The traffic{whose} has moved: {moved}."


def _window(name: str, part: Json) -> str:
    since, until = (datetime.fromtimestamp(part[end], UTC) for end in ("since", "until"))
    some = "" if part["read"] == part["groups"] else f", {part['read']:,} of them compared"
    when = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    return f"{name}: {when}, {part['groups']:,} groups{some}"


def _row(moved: Json) -> MovedRow:
    return MovedRow(
        name=_name(moved["name"]),
        help=PROPERTIES.get(moved["name"], ("", ""))[1],
        shift=show_line(moved["shift"], 160),
        psi=f"{moved['psi']:.2f}",
        band=moved["band"],
        q=f"{moved['q']:.2g}" if moved["q"] >= 1e-4 else "< 0.0001",
        state=Badge(kind="error", word="Drifted") if moved["drifted"] else _SAME,
        span=span(AXIS, 0.0, moved["psi"], moved["psi"]),
    )


def _name(name: str) -> str:
    return PROPERTIES.get(name, (show_line(name, 40), ""))[0]
