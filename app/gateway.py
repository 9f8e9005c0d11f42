"""The path of a request, from task to stored group, top to bottom.

No parsing, no SQL, no HTTP: those are at the rim. The drawing itself is in `app/stages.py`, and the
steps that decide anything (`make_plan`, `next_step`, `decide`) are pure functions in their own
rooms.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from app.cache.base import CacheEntry, WaitedTooLong
from app.cache.entry import group_from_entry
from app.engines.base import DeltaSink
from app.errors import RequestError
from app.group import Group, Span
from app.reuse import Visit, with_spans_before
from app.rim import (
    Opened,
    Rim,
    calibration_for,
    log_gone,
    log_group,
    now_ms,
    policy_of,
    scorer_of,
    seconds_left,
    too_late,
    weights_for,
)
from app.routing.plan import make_plan, route_name_of, with_weights
from app.routing.routes import MatchedRoute, match_route, with_route
from app.scoring import check_of, refs_of, route_specs, wanted_specs
from app.stages import draw
from app.task import Task
from verifiers.base import BadCheck, Check
from verifiers.extract import guess_contract
from verifiers.rotation import choose
from verifiers.run import Panel

__all__ = ["Opened", "Rim", "answer", "open_task"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which engine is asked for which policy."""

    engine: str
    policy: str
    degraded: tuple[str, ...] = ()
    """`policy` while an older one answers because the active one cannot."""
    key: str = ""
    """The key of the settings that names the policy itself."""


async def open_task(task: Task, rim: Rim) -> Opened:
    """Prepare the verifiers and the plan. Raises `RequestError` before anything is drawn."""
    begun_ms = now_ms(task, rim)
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
    plan = with_weights(plan, weights_for(plan, rim))
    spans = (
        Span(name="admit", start_ms=0.0, end_ms=begun_ms),
        Span(name="plan", start_ms=begun_ms, end_ms=now_ms(task, rim)),
    )
    return Opened(
        task=task,
        panel=panel,
        plan=plan,
        spans=spans,
        degraded=source.degraded,
        policy_key=source.key,
    )


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
    if route and wanted and (wanted == "*" or wanted not in aliases):
        return Source(engine=task.engine, policy=wanted, key=f"{route.key}.policy")
    engine = aliases[wanted] if wanted else task.engine
    policy = await policy_of(engine, wanted or task.alias, task, rim)
    fell_back = rim.policies is not None and rim.policies.is_degraded(engine)
    return Source(engine=engine, policy=policy, degraded=("policy",) if fell_back else ())


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
    group = _open_group(opened)
    return await log_group(await draw(group, opened, rim, on_delta), rim)


async def _reuse_or_draw(opened: Opened, rim: Rim, on_delta: DeltaSink | None) -> Group:
    """From the cache, or of an equal request in flight, or drawn for all who wait for it."""
    task, plan, begun_ms = opened.task, opened.plan, now_ms(opened.task, rim)
    visit = Visit.begin(task, plan, cache=rim.cache, near=rim.near, clock=rim.clock)
    group = _open_group(opened).with_cache_key(visit.keys.exact)
    is_waiting = True
    try:
        if (entry := await visit.find()) is not None:
            is_waiting = False
            return await log_group(_hit(opened, entry, rim, coalesced=False), rim)
        async with visit.flight(wait_s=seconds_left(task, rim)) as flight:
            if flight.entry is not None:
                is_waiting = False
                hit = _hit(opened, flight.entry, rim, coalesced=True)
                return await log_group(_noting(hit, visit), rim)
            looked = Span(name="cache", start_ms=begun_ms, end_ms=now_ms(task, rim))
            group = _noting(group.with_spans(looked), visit)
            checked = await visit.check_anew(
                scorer_of(task, plan, opened, rim),
                lambda plan: calibration_for(plan, rim),
                within_s=seconds_left(task, rim) / 2,
            )
            is_waiting = False
            if checked is not None:
                group = with_spans_before(checked, group.spans)
            else:
                group = await draw(group, opened, rim, on_delta)
            group = await log_group(group, rim)
            await visit.keep(group, flight)
            return group
    except WaitedTooLong:
        return await log_group(group.with_error(too_late(task.options.deadline_ms)), rim)
    except asyncio.CancelledError:
        if is_waiting:
            await log_gone(group, rim)
        raise


def _open_group(opened: Opened) -> Group:
    group = Group.open(opened.task, opened.plan).with_spans(*opened.spans)
    for word in opened.degraded:
        group = group.with_degraded(word)
    return group


def _noting(group: Group, visit: Visit) -> Group:
    return group.with_degraded("cache") if visit.away else group


def _hit(opened: Opened, entry: CacheEntry, rim: Rim, *, coalesced: bool) -> Group:
    now = rim.clock()
    group = group_from_entry(entry, opened.task, opened.plan, now=now, coalesced=coalesced)
    end_ms = now_ms(opened.task, rim)
    looked = Span(name="cache", start_ms=opened.spans[-1].end_ms, end_ms=end_ms)
    return group.with_spans(*opened.spans, looked)
