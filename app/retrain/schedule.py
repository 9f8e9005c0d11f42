"""When nights begin: at their time of day, when somebody asks, and again after a crash.

Every gateway looks at the clock; the night's row (app/store/nights.py) sees to it that one of them
runs it, once. A night whose process died is gone on with by the next gateway that looks. One that
was missed because no gateway ran is made up for within three hours, not in the middle of the day.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta

from app.errors import StoreError, VerivoteError
from app.retrain.night import NightParts, claim_night, today, work_night
from app.settings import RetrainSettings
from app.store.nights import RUNNING, Claim, NightRow

LOOK_EVERY_S = 20.0
CATCH_UP = timedelta(hours=3)

log = logging.getLogger("verivote.night")


class Nightly:
    """One background task that begins nights, and one for the night that runs."""

    def __init__(self, parts: NightParts, settings: RetrainSettings) -> None:
        self._parts = parts
        self._settings = settings
        self._looking: asyncio.Task[None] | None = None
        self._working: asyncio.Task[NightRow] | None = None
        self._told = ""

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._run(), name="schedule")

    async def close(self) -> None:
        """A night that runs is left to whoever comes next."""
        tasks = [task for task in (self._looking, self._working) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def begin(self, *, objective: str = "", day: date | None = None) -> Claim:
        """Begin a night now and do not wait for it; the one that is there already otherwise.

        Raises `ConfigError` for one that could not begin, `StoreError`.
        """
        changes = {"objective": objective, "objective_options": {}} if objective else {}
        settings = self._settings.model_copy(update=changes)
        return await self._claim(settings, day or today(self._parts.clock()), again=True)

    async def turn(self) -> None:
        """Begin what is due, unless it was begun. Raises what `begin` does."""
        if self._working is not None and not self._working.done():
            return
        now = self._parts.clock()
        rows = await self._parts.nights.list(self._settings.engine)
        silent = [row for row in rows if row.status == RUNNING and not row.is_alive(now)]
        if silent:
            await self._claim(self._settings, silent[0].day, again=False)
            return
        day = due(now, self._settings.schedule)
        if day is not None and all(row.day != day for row in rows):
            await self._claim(self._settings, day, again=False)

    async def _claim(self, settings: RetrainSettings, day: date, *, again: bool) -> Claim:
        claim = await claim_night(self._parts, settings, day, again=again)
        if claim.won:
            name = f"night {claim.night.id}"
            self._working = asyncio.create_task(self._work(claim.night), name=name)
        return claim

    async def _work(self, night: NightRow) -> NightRow:
        try:
            return await work_night(night, self._parts)
        except StoreError as away:
            log.error("night %s stopped for now: %s", night.id, away.message)
            raise

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
                self._told = ""
            except VerivoteError as failed:
                if failed.message != self._told:
                    log.warning("no night can begin: %s", failed.message)
                self._told = failed.message
            except Exception:  # a schedule that ended would be noticed by nobody
                log.exception("looking for the next night failed; it is tried again")
            await asyncio.sleep(LOOK_EVERY_S)


def due(now: float, schedule: str) -> date | None:
    """The day whose night should have begun by now; None between nights."""
    last = last_time(now, schedule)
    if last is None or datetime.fromtimestamp(now, UTC) - last > CATCH_UP:
        return None
    return last.date()


def last_time(now: float, schedule: str) -> datetime | None:
    """The last time of day that a schedule names, in UTC; None when it is off."""
    if schedule == "off":
        return None
    moment = datetime.fromtimestamp(now, UTC)
    hour, minute = (int(part) for part in schedule.split(":"))
    begins = moment.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return begins if begins <= moment else begins - timedelta(days=1)


def next_time(now: float, schedule: str) -> datetime | None:
    """When the next night begins; None when the schedule is off."""
    last = last_time(now, schedule)
    return None if last is None else last + timedelta(days=1)
