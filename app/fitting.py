"""When the router is fitted: at a time of day, by one gateway of all on a database.

The fit (app/refit.py) runs in a process of its own, at a low priority, and ends with the gateway;
a fit that failed or was cut off is told in the log and tried again on the next day. Nothing is lost
by that: gateways learn every label by themselves, all day.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import date

from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import ConfigError, StoreError
from app.learning import SETTLE_EXTRA_S
from app.refit import Job
from app.retrain.schedule import due
from app.store.learned import LearnedStates

LOOK_EVERY_S = 20.0
NICE = 10

log = logging.getLogger("verivote.fitting")


class NightlyFit:
    """One background task, and a process while a fit runs."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        at: str,
        database: str,
        deadline_ms: int,
        max_loss: float,
        clock: Callable[[], float],
    ) -> None:
        """`at`: the setting `routing.fit_at`. `database`: the URL that the process opens.
        `deadline_ms`: the usual one of a group. `clock` gives Unix seconds."""
        self._states = LearnedStates(engine)
        self._at = at
        self._database = database
        self._settle_s = deadline_ms / 1000 + SETTLE_EXTRA_S
        self._max_loss = max_loss
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._looked_at: date | None = None
        """The last day whose fit was taken, here or by another gateway."""

    async def start(self) -> None:
        """Raises `ConfigError` where no fit could ever succeed."""
        if self._at == "off":
            return
        if importlib.util.find_spec("sklearn") is None:
            raise ConfigError(
                f"routing.fit_at is '{self._at}' and fitting needs scikit-learn: "
                "pip install 'verivote[fit]'"
            )
        self._task = asyncio.create_task(self._run(), name="fitting")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def turn(self) -> None:
        """Fit what is due, unless another gateway does. Raises `StoreError`."""
        now = self._clock()
        day = due(now, self._at)
        if day is None or day == self._looked_at:
            return
        is_ours = await self._states.claim_fit(day, now=now)
        self._looked_at = day
        if is_ours:
            await self._fit(now)

    async def _fit(self, now: float) -> None:
        job = Job(
            database=self._database, now=now, settle_s=self._settle_s, max_loss=self._max_loss
        )
        ends_with_us = (sys.executable, "-m", "app.retrain.child", str(NICE), str(os.getpid()))
        process = await asyncio.create_subprocess_exec(
            *ends_with_us,
            sys.executable,
            "-m",
            "app.refit",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = await process.communicate(json.dumps(asdict(job)).encode())
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            said = err.decode("utf-8", "replace").strip().splitlines() or [str(process.returncode)]
            log.error("the router could not be fitted: %s", said[-1])
            return
        for line in out.decode("utf-8", "replace").splitlines():
            log.info("fitted: %s", line)

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except StoreError as away:
                log.warning("whether the router is to be fitted is not known: %s", away.message)
            except Exception:  # a schedule that ended would be noticed by nobody
                log.exception("fitting the router failed; it is tried again on the next day")
            await asyncio.sleep(LOOK_EVERY_S)
