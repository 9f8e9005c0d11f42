"""`/v1/traces`: list groups, show one, say whether its answer was right."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from ulid import ULID

from app.api import schemas
from app.api.auth import Tenant, authenticate
from app.api.completion import verification_of
from app.api.errors import Json
from app.api.invalid import fault
from app.api.traces_query import parse_feedback, parse_filter
from app.errors import NotFound
from app.gateway import Rim
from app.group import Group
from app.store.base import Label, TraceSummary

router = APIRouter(tags=["traces"])


@router.get("/v1/traces", **schemas.LIST_TRACES)
async def list_traces(request: Request) -> Response:
    """Traces of the caller's tenant, newest first."""
    tenant = await authenticate(request, "traces:read")
    rim: Rim = request.app.state.rim
    page = await rim.store.list(parse_filter(request.query_params, tenant))
    return Json(
        {
            "object": "list",
            "data": [to_row(row) for row in page.rows],
            "has_more": page.next_before is not None,
            "next_before": page.next_before,
        }
    )


@router.get("/v1/traces/{trace_id}", **schemas.GET_TRACE)
async def get_trace(request: Request) -> Response:
    """One group, whole, with its labels."""
    tenant = await authenticate(request, "traces:read")
    rim: Rim = request.app.state.rim
    group = await _group(request, tenant, rim)
    return Json(to_trace(group, await rim.store.labels(group.trace_id)))


@router.post("/v1/traces/{trace_id}/feedback", **schemas.POST_FEEDBACK)
async def post_feedback(request: Request) -> Response:
    """Label an answer. A wrong one is no longer served from the cache."""
    tenant = await authenticate(request, "traces:write")
    rim: Rim = request.app.state.rim
    form = parse_feedback(await request.body())
    group = await _group(request, tenant, rim)
    if form.sample is not None and all(s.sample.index != form.sample for s in group.scored):
        raise fault("invalid_value", f"This trace has no sample {form.sample}.", "sample")
    label = Label(
        id=str(ULID()),
        trace_id=group.trace_id,
        kind=form.label,
        created_at=rim.clock(),
        author=tenant.key_id or tenant.name,
        sample=form.sample,
        correction=form.correction,
        note=form.note,
    )
    await rim.store.add_label(label)
    if label.kind == "wrong" and _is_about_the_answer(label, group):
        for trace_id in {group.trace_id, group.cache.source_trace_id} - {None}:
            await rim.cache.delete(str(trace_id))
    return Json(to_label(label))


def to_row(row: TraceSummary) -> dict[str, Any]:
    """One line of the list."""
    return {
        "id": row.trace_id,
        "object": "trace.summary",
        "created": row.received_at,
        "tenant": row.tenant,
        "model": row.model,
        "route": row.route,
        "status": row.status,
        "stop_reason": row.stop_reason,
        "prompt": row.prompt_preview,
        "answer": row.answer,
        "samples": row.samples,
        "rounds": row.rounds,
        "votes": dict(row.votes),
        "agreement": row.agreement,
        "verdicts": dict(row.verdicts),
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "duration_ms": row.duration_ms,
        "cache_hit": row.cache_hit,
        "degraded": list(row.degraded),
        "labels": list(row.labels),
    }


def to_trace(group: Group, labels: tuple[Label, ...]) -> dict[str, Any]:
    """The whole record, what the reply said of it, and what people said since."""
    return {
        "id": group.trace_id,
        "object": "trace",
        "created": group.task.received_at,
        "verification": verification_of(group),
        "group": orjson.loads(group.to_json()),
        "labels": [to_label(label) for label in labels],
    }


def to_label(label: Label) -> dict[str, Any]:
    return {
        "id": label.id,
        "object": "trace.label",
        "trace_id": label.trace_id,
        "label": label.kind,
        "created": label.created_at,
        "author": label.author,
        "sample": label.sample,
        "correction": label.correction,
        "note": label.note,
    }


def _is_about_the_answer(label: Label, group: Group) -> bool:
    served = group.decision.winner if group.decision else None
    return label.sample is None or label.sample == served


async def _group(request: Request, tenant: Tenant, rim: Rim) -> Group:
    trace_id: str = request.path_params["trace_id"]
    group = await rim.store.get(trace_id, tenant=tenant.sees)
    if group is None:
        raise NotFound(f"There is no trace '{trace_id[:80]}'.", code="trace_not_found")
    return group
