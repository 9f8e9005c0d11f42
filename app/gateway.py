"""The path of a request, from task to stored group, top to bottom.

No parsing, no SQL, no HTTP: those are at the rim. The steps that decide anything (`make_plan`,
`next_step`, `decide`) are pure functions in their own rooms.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from app import __version__
from app.cache.base import Cache, CacheEntry, WaitedTooLong
from app.cache.entry import group_from_entry
from app.cache.near import NearIndex
from app.engines.base import DeltaSink, Engine
from app.errors import EngineError, Overloaded, RequestError, StoreError, VerivoteError
from app.group import Draw, Failure, Group, Plan, Sample, Scored, Span, Task
from app.learning import Learning
from app.metrics import observe
from app.reuse import Visit, with_spans_before
from app.routing.plan import fallback_plan, falls_short, make_plan, route_name_of, seed_of
from app.routing.routes import CompiledRoute, MatchedRoute, match_route, with_route
from app.scoring import (
    Scorer,
    check_of,
    refs_of,
    route_specs,
    score_as_they_arrive,
    unjudged,
    wanted_specs,
)
from app.settings import Settings
from app.spans import record_spans
from app.store.base import Store
from app.voting.decide import decide
from app.voting.stop import Stop, next_step, settled_by
from app.voting.tally import can_vote, tally_votes
from verifiers.base import BadCheck, Check
from verifiers.extract import EXTRACTOR_VERSION, guess_contract
from verifiers.rotation import Pool, choose
from verifiers.run import Panel, Runner

log = logging.getLogger("verivote.gateway")

CLIENT_GONE = Failure(
    code="client_closed_request",
    message="The client closed the connection.",
    status=499,
    where="client",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rim:
    """Everything that does I/O, wired once by `app.main`."""

    settings: Settings
    engines: Mapping[str, Engine]
    runner: Runner
    cache: Cache
    store: Store
    pools: tuple[Pool, ...] = ()
    """Verifiers of which some look at each request."""
    routes: tuple[CompiledRoute, ...] = ()
    """The first that matches says how a request is answered."""
    near: NearIndex = field(default_factory=NearIndex)
    """Where routes may reuse answers to other wordings."""
    learning: Learning | None = None
    """What was learned of difficulty and confidence; None where nothing is."""
    clock: Callable[[], float] = time.time
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which engine is asked for which policy."""

    engine: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A task that was found answerable: its verifiers are prepared and its plan is made."""

    task: Task
    panel: Panel
    plan: Plan
    spans: tuple[Span, ...] = ()
    """What it took to get here: `admit` (from the request's arrival) and `plan`."""


async def open_task(task: Task, rim: Rim) -> Opened:
    """Prepare the verifiers and the plan. Raises `RequestError` before anything is drawn."""
    begun_ms = _now_ms(task, rim)
    route = match_route(task, rim.routes)
    task = with_route(task, route)
    check = check_of(task)
    panel = await _make_panel(task, route, check, rim)
    contract = panel.contract or guess_contract(check.prompt, check.system)
    if task.options.mode != "off":
        drawn = choose(rim.pools, contract.kind, task.trace_id)
        panel = panel.joined(await rim.runner.prepare_drawn(drawn, check))
    source = await _source(task, route, rim)
    plan = make_plan(
        task,
        contract=contract,
        verifiers=refs_of(panel),
        engine=source.engine,
        policy=source.policy,
        defaults=rim.settings.defaults,
        route=route,
        no_programs=await _why_no_programs(task, rim),
        learned=rim.learning.difficulty_for(route_name_of(route)) if rim.learning else None,
    )
    spans = (
        Span(name="admit", start_ms=0.0, end_ms=begun_ms),
        Span(name="plan", start_ms=begun_ms, end_ms=_now_ms(task, rim)),
    )
    return Opened(task=task, panel=panel, plan=plan, spans=spans)


async def _make_panel(task: Task, route: MatchedRoute | None, check: Check, rim: Rim) -> Panel:
    """The request's own verifiers, which must fit it, then those that its route adds."""
    of_route = route_specs(task, route)
    try:
        panel = await rim.runner.prepare(wanted_specs(task, check, of_route=of_route), check)
    except BadCheck as bad:
        raise RequestError(bad.message, param=bad.param or None) from None
    return panel.joined(await rim.runner.prepare_drawn(of_route, check))


async def _source(task: Task, route: MatchedRoute | None, rim: Rim) -> Source:
    """Who is asked: the model that the client named, else the route's, else that of the alias."""
    wanted, aliases = route.policy if route else "", rim.settings.aliases
    if task.upstream_model:
        return Source(engine=task.engine, policy=task.upstream_model)
    if wanted and (wanted == "*" or wanted not in aliases):
        return Source(engine=task.engine, policy=wanted)
    engine = aliases[wanted] if wanted else task.engine
    return Source(engine=engine, policy=await rim.engines[engine].model_for(wanted or task.alias))


async def _why_no_programs(task: Task, rim: Rim) -> str:
    """The sandbox is tried only for a task that may use it."""
    return await rim.runner.why_no_programs() if task.options.rule == "two_kinds" else ""


async def answer(opened: Opened, rim: Rim, on_delta: DeltaSink | None = None) -> Group:
    """Answer one task and log its group. Every step of a request is here, in order.

    `on_delta` receives the pieces of the one sample of a live plan while it is generated. A group
    without an answer comes back with `error` set. When the caller is cancelled, every upstream
    call is closed and the group is logged before the cancellation goes on.
    """
    if opened.panel.decisive and opened.task.options.cache != "off":
        return await _reuse_or_draw(opened, rim, on_delta)
    group = Group.open(opened.task, opened.plan).with_spans(*opened.spans)
    return await _log(await _draw(group, opened, rim, on_delta), rim)


async def _reuse_or_draw(opened: Opened, rim: Rim, on_delta: DeltaSink | None) -> Group:
    """From the cache, or of an equal request in flight, or drawn for all who wait for it."""
    task, plan, begun_ms = opened.task, opened.plan, _now_ms(opened.task, rim)
    visit = Visit.begin(task, plan, cache=rim.cache, near=rim.near, clock=rim.clock)
    group = Group.open(task, plan).with_spans(*opened.spans).with_cache_key(visit.keys.exact)
    try:
        if (entry := await visit.find()) is not None:
            return await _log(_hit(opened, entry, rim, coalesced=False), rim)
        async with visit.flight(wait_s=_seconds_left(task, rim)) as flight:
            if flight.entry is not None:
                hit = _hit(opened, flight.entry, rim, coalesced=True)
                return await _log(_noting(hit, visit), rim)
            looked = Span(name="cache", start_ms=begun_ms, end_ms=_now_ms(task, rim))
            group = _noting(group.with_spans(looked), visit)
            checked = await visit.check_anew(
                _scorer(task, plan, opened, rim), within_s=_seconds_left(task, rim) / 2
            )
            if checked is not None:
                group = _finished(with_spans_before(checked, group.spans), task, rim)
            else:
                group = await _draw(group, opened, rim, on_delta)
            group = await _log(group, rim)
            await visit.keep(group, flight)
            return group
    except WaitedTooLong:
        return await _log(
            _finished(group.with_error(_too_late(task.options.deadline_ms)), task, rim), rim
        )


def _noting(group: Group, visit: Visit) -> Group:
    return group.with_degraded("cache") if visit.away else group


def _decided(group: Group, reason: str, rim: Rim) -> Group:
    begun_ms = _now_ms(group.task, rim)
    calibration = rim.learning.calibration_for(group.plan) if rim.learning else None
    decision = decide(group, reason, calibration)
    took = Span(name="decide", start_ms=begun_ms, end_ms=_now_ms(group.task, rim))
    return group.with_decision(decision).with_spans(took)


def _hit(opened: Opened, entry: CacheEntry, rim: Rim, *, coalesced: bool) -> Group:
    now = rim.clock()
    group = group_from_entry(entry, opened.task, opened.plan, now=now, coalesced=coalesced)
    end_ms = _now_ms(opened.task, rim)
    looked = Span(name="cache", start_ms=opened.spans[-1].end_ms, end_ms=end_ms)
    return _finished(group.with_spans(*opened.spans, looked), opened.task, rim)


async def _draw(group: Group, opened: Opened, rim: Rim, on_delta: DeltaSink | None) -> Group:
    """The plan's stage, and its fallback's where that falls short."""
    group = await _draw_stage(group, opened, rim, on_delta)
    if falls_short(group):
        group = await _fall_back(group, opened, rim, on_delta)
    return _finished(group, opened.task, rim)


async def _draw_stage(group: Group, opened: Opened, rim: Rim, on_delta: DeltaSink | None) -> Group:
    """Rounds of sample, verify as each arrives, vote, stop; then decide."""
    task, plan = opened.task, group.plan
    engine = rim.engines[plan.engine]
    scorer = _scorer(task, plan, opened, rim)
    reason, failure = "", None
    try:
        async with asyncio.timeout(_seconds_left(task, rim, plan)):
            while isinstance(step := next_step(group, seed=_round_seed(group)), Draw):
                drawing = engine.draw(task, plan, step, on_delta if plan.live else None)
                before, ended = len(group.scored), list[Sample]()
                try:
                    async with aclosing(score_as_they_arrive(drawing, ended, scorer)) as arriving:
                        async for scored, spans in arriving:
                            group = _with_scored(group, scored, spans)
                            in_flight = step.n - (len(group.scored) - before)
                            if settled_by(group, in_flight=in_flight):
                                break
                finally:
                    lost = (*ended, *await drawing.cancel())
                    group = _with_lost(group, lost).with_calls(*drawing.calls)
                came = len(group.scored) - before
                if came < step.n:
                    group = group.with_degraded("samples")
                if came == 0:
                    break
            reason = step.reason if isinstance(step, Stop) else "samples"
    except TimeoutError:
        reason, failure = "deadline", _too_late(plan.deadline_ms)
    except (EngineError, Overloaded) as error:
        reason, failure = "engine", _failure_of(error)
    except asyncio.CancelledError:
        await _log_gone(group, rim)
        raise
    decided = _decided(group, reason, rim)
    if failure is not None:
        nothing = decided.winner is None
        decided = decided.with_error(failure) if nothing else decided.with_degraded(reason)
    return decided


async def _fall_back(first: Group, opened: Opened, rim: Rim, on_delta: DeltaSink | None) -> Group:
    """The fallback's stage. Where it gives nothing better, the first one's answer is served."""
    task, alias = opened.task, first.plan.fallback
    engine = rim.settings.aliases[alias]
    begun_ms = _now_ms(task, rim)
    plan = fallback_plan(first, engine=engine)
    try:
        async with asyncio.timeout(_seconds_left(task, rim, plan)):
            plan = replace(plan, policy=await rim.engines[engine].model_for(alias))
    except TimeoutError:
        return first.with_degraded("fallback")
    except asyncio.CancelledError:
        await _log_gone(first, rim)
        raise
    group = await _draw_stage(first.next_stage(plan), opened, rim, on_delta)
    group = group.with_spans(Span(name="fallback", start_ms=begun_ms, end_ms=_now_ms(task, rim)))
    if _is_better(group, first):
        return group
    again = replace(group.previous_stage(), error=first.error, degraded=first.degraded)
    return again.with_degraded("fallback")


def _is_better(group: Group, first: Group) -> bool:
    """An answer of the fallback is, unless it says nothing where the first stage said something."""
    if group.error is not None or group.winner is None:
        return False
    return can_vote(group.winner) or first.winner is None or not can_vote(first.winner)


def _with_scored(group: Group, scored: Scored, spans: tuple[Span, ...]) -> Group:
    sample = replace(scored.sample, stage=group.stage)
    drawn = Span(
        name="sample", start_ms=sample.started_ms, end_ms=sample.finished_ms, sample=sample.index
    )
    grown = group.with_scored(replace(scored, sample=sample)).with_spans(drawn, *spans)
    return grown.with_tally(tally_votes(grown.current))


def _with_lost(group: Group, lost: Sequence[Sample]) -> Group:
    """Add the samples that were drawn and not judged: they cost tokens and have no vote."""
    known = {scored.sample.index for scored in group.scored}
    for sample in lost:
        if sample.index not in known:
            group = _with_scored(group, unjudged(sample), ())
    return group


async def _log(group: Group, rim: Rim) -> Group:
    """Append to the spool before the reply leaves; a log that is away is one word in the reply."""
    observe(group)
    record_spans(group, content=rim.settings.telemetry.content)
    try:
        await rim.store.append(group)
    except StoreError as error:
        log.error("trace %s was not stored: %s", group.trace_id, error.message)
        return group.with_degraded("store")
    return group


async def _log_gone(group: Group, rim: Rim) -> None:
    """Keep what was drawn for a client who did not wait for it."""
    await _log(_finished(group.with_error(CLIENT_GONE), group.task, rim), rim)


def _finished(group: Group, task: Task, rim: Rim) -> Group:
    stamped = replace(group, gateway_version=__version__, extractor_version=EXTRACTOR_VERSION)
    return stamped.finished(_now_ms(task, rim))


def _scorer(task: Task, plan: Plan, opened: Opened, rim: Rim) -> Scorer:
    return Scorer(
        task=task,
        plan=plan,
        panel=opened.panel,
        runner=rim.runner,
        now_ms=lambda: _now_ms(task, rim),
    )


def _too_late(deadline_ms: int) -> Failure:
    return Failure(
        code="deadline_exceeded",
        message=f"No sample ended within {deadline_ms} ms; raise verify.deadline_ms.",
        status=504,
        where="deadline",
    )


def _failure_of(error: VerivoteError) -> Failure:
    return Failure(
        code=error.error_code, message=error.message, status=error.http_status, where="engine"
    )


def _round_seed(group: Group) -> int:
    return seed_of(group.plan.seed, group.rounds + 1)


def _now_ms(task: Task, rim: Rim) -> float:
    return (rim.clock() - task.received_at) * 1000.0


def _seconds_left(task: Task, rim: Rim, plan: Plan | None = None) -> float:
    """Until the deadline of the plan, which may be a stage's, else of the task."""
    deadline_ms = plan.deadline_ms if plan else task.options.deadline_ms
    return max(0.0, deadline_ms / 1000.0 - (rim.clock() - task.received_at))
