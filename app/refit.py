"""The nightly fit of the router, and going back to a version: what is done to what was learned
from outside, while gateways go on learning.

Both save a version after the newest; gateways take it up and learn on from its place in the log.
`python -m app.refit` is the fit in a process of its own: a job (`Job`, as JSON) on standard input,
what came of each route on standard output, or exit code 1 with one line on standard error.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.errors import NotFound, StoreError, VerivoteError
from app.learning import read_model
from app.routing.examples import Example, example_of
from app.routing.fit import Fitted, RowsOfRoute
from app.routing.model import DifficultyModel
from app.store.database import open_engine
from app.store.labelled import Event, LabelledLog, place_at
from app.store.learned import Learned, LearnedStates

PAGE = 200
TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A fit of every route."""

    database: str
    """Its URL, password included."""
    now: float
    """Unix seconds."""
    settle_s: float
    max_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """What came of the fit of one route."""

    route: str
    fitted: Fitted
    model: DifficultyModel
    saved: Learned | None
    """The version that it became; None where it was only tried."""


async def refit(
    log: LabelledLog,
    states: LearnedStates,
    *,
    now: float,
    settle_s: float,
    max_loss: float,
    route: str = "",
    keep: bool = True,
    tell: Callable[[str], None],
) -> tuple[Refit, ...]:
    """Learn the log anew up to `settle_s` before `now` and fit trees, for one route or for all.

    What gateways passed by is learned too: groups that were late. Raises `StoreError`, and
    `ConfigError` when scikit-learn is not installed.
    """
    routes, upto = await _replay(log, place_at(now - settle_s), route, tell)
    done = []
    for name, rows in sorted(routes.items()):
        tell(f"fitting route {name}")
        fitted = await asyncio.to_thread(rows.fit)
        saved = await _keep(log, states, name, rows, upto, now=now) if keep else None
        model = rows.model.to_model(name, saved.version if saved else 0, max_loss=max_loss)
        done.append(Refit(route=name, fitted=fitted, model=model, saved=saved))
    return tuple(done)


async def use_version(states: LearnedStates, route: str, version: int, *, now: float) -> Learned:
    """Make an earlier version the newest. Raises `NotFound` when it is not kept.

    It learns on from the newest place in the log, or it would learn again what it was set back
    from.
    """
    wanted = await states.get("difficulty", route, version)
    if wanted is None:
        kept = [str(each.version) for each in await states.versions("difficulty", route)]
        known = f"kept are {', '.join(kept)}" if kept else "it has learned nothing yet"
        raise NotFound(f"route '{route}' has no version {version}; {known}", param="version")
    for _ in range(TRIES):
        newest = (await states.newest("difficulty"))[route]
        again = dataclasses.replace(
            wanted,
            version=newest.version + 1,
            created_at=now,
            last_trace_id=newest.last_trace_id,
        )
        if await states.save(again):
            return again
    raise _too_busy(route)


def model_of(saved: Learned, *, max_loss: float) -> DifficultyModel:
    """The model of a version. Raises `StoreError` when its state is of another form."""
    model = read_model(saved)
    if model is None:
        raise StoreError(f"version {saved.version} of route '{saved.route}' cannot be read here")
    return model.to_model(saved.route, saved.version, max_loss=max_loss)


async def _replay(
    log: LabelledLog, until: str, only: str, tell: Callable[[str], None]
) -> tuple[dict[str, RowsOfRoute], str | None]:
    """Every route learned from the beginning of the log, and the place of the last label."""
    routes: defaultdict[str, RowsOfRoute] = defaultdict(RowsOfRoute)
    after, is_last, read = None, False, 0
    while not is_last:
        page = await log.events(after, PAGE, until=until)
        for name, example in _examples(page.events):
            if not only or name == only:
                routes[name].learn(example)
        after, is_last = page.upto, page.is_last
        read += len(page.events)
        tell(f"{read} labels read")
    return dict(routes), after


async def _keep(
    log: LabelledLog,
    states: LearnedStates,
    route: str,
    rows: RowsOfRoute,
    upto: str | None,
    *,
    now: float,
) -> Learned:
    """Save what was fitted, once it holds all that the newest version holds: gateways go on from
    there, and would not come back for what it lacks."""
    for _ in range(TRIES):
        newest = (await states.newest("difficulty")).get(route)
        goal = newest.last_trace_id if newest else None
        while goal is not None and (upto is None or upto < goal):
            page = await log.events(upto, PAGE, until=goal)
            for name, example in _examples(page.events):
                if name == route:
                    rows.model.learn(example)
            upto = goal if page.is_last else page.upto
        fresh = Learned(
            kind="difficulty",
            route=route,
            version=newest.version + 1 if newest else 1,
            created_at=now,
            labels=rows.model.labels,
            last_trace_id=upto,
            state=rows.model.to_state(),
        )
        if await states.save(fresh):
            return fresh
    raise _too_busy(route)


def _examples(events: Sequence[Event]) -> Iterator[tuple[str, Example]]:
    """What the events teach, with the name of the route that it teaches."""
    for event in events:
        known = event.labelled
        example = example_of(known.group, right=known.right, truth=known.truth, source=known.source)
        if example is not None:
            yield known.group.plan.route_name, example


def _too_busy(route: str) -> StoreError:
    return StoreError(f"gateways keep saving versions of route '{route}'; try again")


def told(done: Refit) -> str:
    """One line about the fit of a route."""
    fitted = done.fitted
    aucs = [f"{value:.3f}" for value in (fitted.auc_trees, fitted.auc_online) if value is not None]
    trees = "kept" if fitted.kept else "not better" if len(aucs) == 2 else "too few rows for them"
    version = f", version {done.saved.version}" if done.saved else ""
    order = f" ({aucs[0]} over {aucs[1]})" if len(aucs) == 2 else ""
    return f"route {done.route}: {fitted.rows} rows, trees {trees}{order}{version}"


def main() -> None:
    job = Job(**json.load(sys.stdin))
    try:
        done = asyncio.run(_run(job))
    except VerivoteError as failed:
        sys.exit(failed.message)
    sys.stdout.write("".join(f"{told(each)}\n" for each in done))


async def _run(job: Job) -> tuple[Refit, ...]:
    engine = open_engine(job.database)
    try:
        return await refit(
            LabelledLog(engine),
            LearnedStates(engine),
            now=job.now,
            settle_s=job.settle_s,
            max_loss=job.max_loss,
            tell=lambda said: None,
        )
    finally:
        await engine.dispose()


if __name__ == "__main__":
    main()
