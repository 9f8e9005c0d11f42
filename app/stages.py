"""The stages of a request: rounds of sample, verify, vote, stop; then decide, or ask the fallback.

What decides anything (`next_step`, `settled_by`, `decide`, `falls_short`) is pure and elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from app.engines.base import DeltaSink
from app.errors import EngineError, ModelNotFound, Overloaded, VerivoteError
from app.group import Failure, Group, Span
from app.plan import Draw
from app.rim import (
    Opened,
    Rim,
    calibration_for,
    log_gone,
    now_ms,
    policy_of,
    scorer_of,
    seconds_left,
    too_late,
    weights_for,
)
from app.routing.plan import fallback_plan, falls_short, seed_of, with_weights
from app.sample import Sample, Scored
from app.scoring import score_as_they_arrive, unjudged
from app.voting.decide import decide
from app.voting.stop import Stop, next_step, settled_by
from app.voting.tally import can_vote, tally_votes


async def draw(group: Group, opened: Opened, rim: Rim, on_delta: DeltaSink | None) -> Group:
    """The group, drawn and decided: by the plan's stage, or its fallback's where that falls short.

    When the caller is cancelled, every upstream call is closed and the group is logged before the
    cancellation goes on.
    """
    group = await _draw_stage(group, opened, rim, on_delta)
    if falls_short(group):
        group = await _fall_back(group, opened, rim, on_delta)
    return group


async def _draw_stage(group: Group, opened: Opened, rim: Rim, on_delta: DeltaSink | None) -> Group:
    """Rounds of sample, verify as each arrives, vote, stop; then decide."""
    task, plan = opened.task, group.plan
    engine = rim.engines[plan.engine]
    scorer = scorer_of(task, plan, opened, rim)
    reason, failure = "", None
    try:
        async with asyncio.timeout(seconds_left(task, rim, plan)):
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
        reason, failure = "deadline", too_late(plan.deadline_ms)
    except (EngineError, Overloaded) as error:
        reason, failure = "engine", _failure_of(error, group, opened)
    except asyncio.CancelledError:
        await log_gone(group, rim)
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
    begun_ms = now_ms(task, rim)
    plan = fallback_plan(first, engine=engine)
    try:
        async with asyncio.timeout(seconds_left(task, rim, plan)):
            plan = replace(plan, policy=await policy_of(engine, alias, task, rim))
            plan = with_weights(plan, weights_for(plan, rim))
    except TimeoutError:
        return first.with_degraded("fallback")
    except asyncio.CancelledError:
        await log_gone(first, rim)
        raise
    group = await _draw_stage(first.next_stage(plan), opened, rim, on_delta)
    group = group.with_spans(Span(name="fallback", start_ms=begun_ms, end_ms=now_ms(task, rim)))
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
    return grown.with_tally(tally_votes(grown.current, grown.plan.weights))


def _with_lost(group: Group, lost: Sequence[Sample]) -> Group:
    """Add the samples that were drawn and not judged: they cost tokens and have no vote."""
    known = {scored.sample.index for scored in group.scored}
    for sample in lost:
        if sample.index not in known:
            group = _with_scored(group, unjudged(sample), ())
    return group


def _decided(group: Group, reason: str, rim: Rim) -> Group:
    begun_ms = now_ms(group.task, rim)
    decision = decide(group, reason, calibration_for(group.plan, rim))
    took = Span(name="decide", start_ms=begun_ms, end_ms=now_ms(group.task, rim))
    return group.with_decision(decision).with_spans(took)


def _failure_of(error: VerivoteError, group: Group, opened: Opened) -> Failure:
    """What the engine said. A model that the settings named is the operator's fault to mend."""
    message, plan = error.message, group.plan
    if error.error_code == ModelNotFound.code and opened.policy_key and not group.stage:
        message = (
            f"{opened.policy_key} of route '{plan.route_name}' is '{plan.policy}', which engine "
            f"'{plan.engine}' does not serve and which is no alias. It says: {message}"
        )
    return Failure(code=error.error_code, message=message, status=error.http_status, where="engine")


def _round_seed(group: Group) -> int:
    return seed_of(group.plan.seed, group.rounds + 1)
