"""Learns from the log while the gateway serves: where voting gains, and what agreement is worth.

Every `routing.learn_every_s` it reads what became known since, in the order in which it did, lets
each route's model and calibration learn it, and saves the next version of both. What a version has
seen and when is in its row, so any gateway can go on from it and anybody can replay it. Of several
gateways on one database one saves, the others find the version taken and load it.

An answer never waits for this and never fails by it: while the database is away, what was learned
last goes on deciding.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import StoreError
from app.plan import Plan
from app.routing.examples import example_of
from app.routing.model import DifficultyModel, RouteModel
from app.settings import RoutingSettings
from app.store.labelled import Event, LabelledLog, place_at
from app.store.learned import Learned, LearnedKind, LearnedStates, Version
from app.voting.calibrate import calibrations_from
from app.voting.confidence import Calibration

START_S = 3.0
SETTLE_EXTRA_S = 5.0
"""How long after its deadline a group may take to reach the database."""
SLOW_LOOK_S = 0.25
LOOK_BACK_S = 3600.0
"""What became known is sought from the last that was found; in a long log without labels, where
that takes longer than `SLOW_LOOK_S`, from this long before the look before."""
PAGE = 16
"""Events read at once; a page keeps the event loop for some milliseconds."""
PAUSE_S = 0.01
"""Between pages: who waits for an answer goes first."""
MOST_EVENTS = 2_000
"""Learned before a version is saved."""

log = logging.getLogger("verivote.learning")

Calibrations = dict[tuple[str, str], Calibration]
"""By name of the route and policy."""


@dataclass
class _Work:
    """Versions in the making: what the newest ones become with the events of this turn."""

    models: dict[str, RouteModel] = field(default_factory=dict)
    """Of the routes that labelled groups took."""
    learned: set[str] = field(default_factory=set)
    """Those of which the model learned something."""
    calibrations: Calibrations = field(default_factory=dict)
    calibrated: set[str] = field(default_factory=set)
    """Routes with a calibration that learned something."""
    upto: str | None = None


class Learning:
    """One background task. `difficulty_for` and `calibration_for` are what requests ask."""

    def __init__(
        self,
        engine: AsyncEngine,
        settings: RoutingSettings,
        *,
        deadline_ms: int,
        clock: Callable[[], float],
    ) -> None:
        """`deadline_ms` is the usual one of a group: a group is learned when all that came before
        it must have ended. `clock` gives Unix seconds."""
        self._log = LabelledLog(engine)
        self._states = LearnedStates(engine)
        self._settings = settings
        self._settle_s = deadline_ms / 1000 + SETTLE_EXTRA_S
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._seen: dict[tuple[LearnedKind, str], Version] = {}
        """The versions that are in use here, or were found unreadable."""
        self._models: dict[str, DifficultyModel] = {}
        self._calibrations: Calibrations = {}
        self._read_upto: str | None = None
        """Place in the log of the last event read here, learned or not."""
        self._sought_upto: str | None = None
        """Where a long log without labels is looked through from."""
        self._is_away = False

    def difficulty_for(self, route_name: str) -> DifficultyModel | None:
        return self._models.get(route_name)

    def calibration_for(self, plan: Plan) -> Calibration | None:
        return self._calibrations.get((plan.route_name, plan.policy))

    def calibrations(self) -> tuple[Calibration, ...]:
        """All that are in use, of every route and policy."""
        return tuple(self._calibrations.values())

    async def start(self) -> None:
        """Load what was learned before; the database may be away."""
        try:
            async with asyncio.timeout(START_S):
                await self.reload()
        except (StoreError, TimeoutError) as failed:
            self._note(failed)
        self._task = asyncio.create_task(self._run(), name="learning")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
                self._is_away = False
            except StoreError as failed:
                self._note(failed)
            except Exception:  # learning is never worth a gateway that stops learning
                log.exception("learning from the log failed; it is tried again")
            await asyncio.sleep(self._settings.learn_every_s)

    def _note(self, failed: Exception) -> None:
        if not self._is_away:
            log.warning("what was learned cannot be read or kept: %s", failed or "no answer")
        self._is_away = True

    async def turn(self) -> None:
        """Load what others saved, then learn all that has become known. Raises `StoreError`."""
        is_last = False
        while not is_last:
            await self.reload()
            begun, now, before = time.monotonic(), self._clock(), self._read_upto
            is_last = await self._learn_some()
        if self._read_upto == before and time.monotonic() - begun > SLOW_LOOK_S:
            self._sought_upto = place_at(now - self._settle_s - LOOK_BACK_S)

    async def reload(self) -> None:
        """Take up the versions that somebody else saved. Raises `StoreError`."""
        for kind in ("difficulty", "confidence"):
            newest = await self._states.newest(kind)
            for route, version in newest.items():
                if self._seen.get((kind, route)) == version:
                    continue
                saved = await self._states.get(kind, route, version.version)
                if saved is not None:
                    self._seen[kind, route] = version
                    await self._take_up(saved)

    async def _learn_some(self) -> bool:
        """Learn some events and save the versions that come of them; True when none are left."""
        work = _Work(calibrations=dict(self._calibrations), upto=self._place())
        until = place_at(self._clock() - self._settle_s)
        read, is_last = 0, False
        while not is_last and read < MOST_EVENTS:
            page = await self._log.events(work.upto, PAGE, until=until)
            for route in {each.labelled.group.plan.route_name for each in page.events}:
                if route not in work.models:
                    work.models[route] = await self._model_of(route)
            await asyncio.to_thread(_learn, work, page.events)
            read += len(page.events)
            work.upto, is_last = page.upto, page.is_last
            await asyncio.sleep(PAUSE_S)
        versions = await asyncio.to_thread(self._next_versions, work)
        if versions and not await self._states.save(*versions):
            log.info("another gateway has learned the same; its version is taken up")
            return False
        self._read_upto = work.upto
        for saved in versions:
            self._seen[saved.kind, saved.route] = _unstated(saved)
            if saved.kind == "difficulty":
                await self._install(saved, work.models[saved.route])
        self._calibrations = work.calibrations
        return is_last

    def _place(self) -> str | None:
        """Where to go on: after all that the versions hold."""
        held = (version.last_trace_id for version in self._seen.values())
        places = (self._read_upto, self._sought_upto, *held)
        return max((place for place in places if place is not None), default=None)

    async def _model_of(self, route: str) -> RouteModel:
        """The newest state of a route's model, or a new one."""
        seen = self._seen.get(("difficulty", route))
        saved = await self._states.get("difficulty", route, seen.version) if seen else None
        model = await asyncio.to_thread(read_model, saved) if saved else None
        return model or RouteModel()

    def _next_versions(self, work: _Work) -> list[Learned]:
        states: list[tuple[LearnedKind, str, int, Mapping[str, Any]]] = [
            ("difficulty", route, work.models[route].labels, work.models[route].to_state())
            for route in sorted(work.learned)
        ]
        for route in sorted(work.calibrated):
            of_route = [c for (name, _), c in sorted(work.calibrations.items()) if name == route]
            state = {"policies": [calibration.to_state() for calibration in of_route]}
            states.append(("confidence", route, sum(c.labels for c in of_route), state))
        return [
            Learned(
                kind=kind,
                route=route,
                version=self._version_of(kind, route) + 1,
                created_at=self._clock(),
                labels=labels,
                last_trace_id=work.upto,
                state=state,
            )
            for kind, route, labels, state in states
        ]

    def _version_of(self, kind: LearnedKind, route: str) -> int:
        seen = self._seen.get((kind, route))
        return seen.version if seen else 0

    async def _take_up(self, saved: Learned) -> None:
        """Let requests ask a version that somebody else saved."""
        if saved.kind == "difficulty":
            model = await asyncio.to_thread(read_model, saved)
            if model is not None:
                await self._install(saved, model)
            return
        read = await asyncio.to_thread(_read_calibrations, saved)
        others = {key: c for key, c in self._calibrations.items() if key[0] != saved.route}
        self._calibrations = others | read

    async def _install(self, saved: Learned, model: RouteModel) -> None:
        """Let requests ask this model, which nobody changes any more."""
        max_loss = self._settings.max_loss
        self._models[saved.route] = await asyncio.to_thread(
            model.to_model, saved.route, saved.version, max_loss=max_loss
        )


def _learn(work: _Work, events: Sequence[Event]) -> None:
    """Let the models and calibrations learn a page, in its order."""
    for event in events:
        known = event.labelled
        example = example_of(known.group, right=known.right, truth=known.truth, source=known.source)
        if example is not None:
            route = known.group.plan.route_name
            work.models[route].learn(example)
            work.learned.add(route)
    checked = [e.labelled for e in events if e.labelled.group.plan.route != "off"]
    before = work.calibrations
    work.calibrations = calibrations_from(checked, before)
    work.calibrated |= {
        route
        for (route, policy), calibration in work.calibrations.items()
        if before.get((route, policy)) is not calibration
    }


def read_model(saved: Learned) -> RouteModel | None:
    """The model of a version; None, with a word in the log, when it cannot be read here."""
    try:
        return RouteModel.from_state(saved.state)
    except (KeyError, TypeError, ValueError, IndexError) as failed:
        _tell_unreadable(saved, failed)
        return None


def _read_calibrations(saved: Learned) -> Calibrations:
    try:
        read = [Calibration.from_state(each) for each in saved.state["policies"]]
    except (KeyError, TypeError, ValueError) as failed:
        _tell_unreadable(saved, failed)
        return {}
    return {(calibration.route, calibration.policy): calibration for calibration in read}


def _tell_unreadable(saved: Version, failed: Exception) -> None:
    log.warning(
        "version %d of the %s of route '%s' cannot be read here: %s: %s",
        saved.version,
        saved.kind,
        saved.route,
        type(failed).__name__,
        failed,
    )


def _unstated(saved: Learned) -> Version:
    return Version(
        kind=saved.kind,
        route=saved.route,
        version=saved.version,
        created_at=saved.created_at,
        labels=saved.labels,
        last_trace_id=saved.last_trace_id,
    )
