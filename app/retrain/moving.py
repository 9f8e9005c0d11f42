"""Has the traffic of the log moved? Drift between two windows of it, for whoever wants to know.

Each window is represented by at most about `MOST` groups: enough for any drift that matters, and
read in seconds, away from the event loop that serves.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from app.retrain.choosing import Window
from app.retrain.drift import DriftReport, find_drift, window_of
from app.store.database import open_engine
from app.store.training_log import TrainingLog

MOST = 2_000
"""Groups of a window; a PSI of .10 is far beyond chance with half as many."""
DAY_S = 86_400.0
DAYS, BEFORE_DAYS, MOST_DAYS = 7, 28, 366
"""Windows when nobody says otherwise: a week against the four before it; and the longest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One window of the log, and what was read of it."""

    since: float
    until: float
    """Unix seconds."""
    groups: int
    """Drawn in that time."""
    read: int
    """Of those, how many were compared: all, or some spread evenly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """Two windows of the log, compared."""

    engine: str
    """Whose traffic; empty: of all engines."""
    before: Part
    after: Part
    report: DriftReport

    def to_json(self) -> dict[str, Any]:
        """The report with its windows; what a night keeps and the API sends."""
        return {
            "engine": self.engine,
            "before": dataclasses.asdict(self.before),
            "after": dataclasses.asdict(self.after),
            **self.report.to_json(),
        }


def windows(now: float, days: int, before_days: int) -> tuple[Window, Window]:
    """The days before the last ones, and the last ones."""
    turned = now - days * DAY_S
    return (
        Window(since=turned - before_days * DAY_S, until=turned),
        Window(since=turned, until=now),
    )


async def compare(
    url: str, before: Window, after: Window, *, engine: str = "", most: int = MOST
) -> Moving:
    """Compare two windows of the log of the database at `url`. Raises `StoreError`."""

    async def work() -> Moving:
        database = open_engine(url)
        try:
            return await _compare(database, before, after, engine, most)
        finally:
            await database.dispose()

    return await asyncio.to_thread(asyncio.run, work())


async def _compare(
    database: AsyncEngine, before: Window, after: Window, engine: str, most: int
) -> Moving:
    log = TrainingLog(database)
    parts, contents = [], []
    for window in (before, after):
        count, groups = await log.drawn(window.since, window.until, most=most, engine=engine)
        parts.append(Part(since=window.since, until=window.until, groups=count, read=len(groups)))
        contents.append(window_of(groups))
    return Moving(engine=engine, before=parts[0], after=parts[1], report=find_drift(*contents))
