"""Group → OpenTelemetry spans: one tree a request, made after it is finished.

Names and attributes follow the GenAI semantic conventions (status Development); what they have no
word for is under `verivote.`. Texts are put on spans only when `telemetry.content` says so. Without
a collector nothing is built.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from app.group import Group
from app.sample import Scored
from app.telemetry import tracer


def record_spans(group: Group, *, content: bool = False) -> None:
    """Export the group as `invoke_workflow` with one `chat` a sample and one `verify` a verdict."""
    root = tracer().start_span(
        "invoke_workflow verify-and-vote", start_time=_at(group, 0.0), kind=SpanKind.INTERNAL
    )
    if not root.is_recording():
        return
    usage = group.usage()
    _set(
        root,
        {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.request.model": group.task.model,
            "gen_ai.response.id": group.trace_id,
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "verivote.route": group.plan.route,
            "verivote.route.name": group.plan.route_name,
            "verivote.stages": group.stage + 1,
            "verivote.difficulty": group.plan.difficulty,
            "verivote.samples": len(group.scored),
            "verivote.rounds": group.rounds,
            "verivote.cache.hit": group.cache.hit,
            "verivote.status": group.decision.status if group.decision else None,
            "verivote.stop_reason": group.decision.stop_reason if group.decision else None,
            "gen_ai.input.messages": group.task.prompt() if content else None,
        },
    )
    if group.error is not None:
        root.set_attribute("error.type", group.error.code)
        root.set_status(Status(StatusCode.ERROR, group.error.message))
    if not group.cache.hit:
        parent = trace.set_span_in_context(root)
        for scored in group.scored:
            _record_sample(group, scored, parent, content=content)
    root.end(_at(group, group.finished_ms))


def _record_sample(group: Group, scored: Scored, parent: Context, *, content: bool) -> None:
    sample, plan = scored.sample, group.plan_of(scored.sample)
    model = sample.model or plan.policy
    span = tracer().start_span(
        f"chat {model}".strip(),
        context=parent,
        kind=SpanKind.CLIENT,
        start_time=_at(group, sample.started_ms),
    )
    _set(
        span,
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": plan.engine,
            "gen_ai.request.model": plan.policy or None,
            "gen_ai.request.seed": sample.seed,
            "gen_ai.request.temperature": plan.temperature,
            "gen_ai.response.model": sample.model or None,
            "gen_ai.usage.output_tokens": sample.completion_tokens,
            "verivote.sample": sample.index,
            "verivote.sample.kind": sample.kind,
            "verivote.stage": sample.stage,
            "verivote.cancelled": sample.cancelled,
            "gen_ai.output.messages": sample.text if content else None,
        },
    )
    if sample.finish_reason:
        span.set_attribute("gen_ai.response.finish_reasons", [sample.finish_reason])
    inside = trace.set_span_in_context(span)
    for verdict in scored.verdicts:
        ended = sample.finished_ms + verdict.wait_ms + verdict.run_ms
        judged = tracer().start_span(
            f"verify {verdict.verifier}",
            context=inside,
            start_time=_at(group, sample.finished_ms + verdict.wait_ms),
        )
        result = {
            "gen_ai.evaluation.name": verdict.verifier,
            "gen_ai.evaluation.score.label": verdict.status.value,
            "gen_ai.response.id": group.trace_id,
        }
        if verdict.score is not None:
            judged.set_attribute("gen_ai.evaluation.score.value", verdict.score)
        judged.add_event("gen_ai.evaluation.result", result, timestamp=_at(group, ended))
        judged.end(_at(group, ended))
    span.end(_at(group, sample.finished_ms))


def _at(group: Group, ms: float) -> int:
    """Unix nanoseconds of a moment inside the group."""
    return int((group.task.received_at + ms / 1000.0) * 1e9)


def _set(span: Span, attributes: dict[str, str | int | float | bool | None]) -> None:
    for key, value in attributes.items():
        if value is not None:
            span.set_attribute(key, value)
