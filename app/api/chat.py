"""`POST /v1/chat/completions`: bytes → task → group → reply, whole or streamed.

Authenticate, read, admit, parse, open, answer, render: each in its own module, in this order here.
The answer is watched from the moment the body was read: who hangs up stops everything.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from ulid import ULID

from app.api import schemas
from app.api.admission import Admission
from app.api.auth import Tenant, authenticate
from app.api.completion import (
    error_of,
    opening_headers,
    response_headers,
    to_completion,
    verification_of,
)
from app.api.errors import Json, error_reply
from app.api.hangup import Hangup
from app.api.models import Catalog
from app.api.parse import Arrival, parse_chat, read_timeout_s
from app.api.stream import AnswerStream
from app.gateway import Rim, answer, open_task
from app.group import Group
from app.settings import Settings
from app.task import Task

router = APIRouter(tags=["chat"])

PARSE_INLINE_BYTES = 256 * 1024
"""Larger bodies are parsed in a thread, so that they hold up nobody else."""


@router.post("/chat/completions", include_in_schema=False)
@router.post("/v1/chat/completions", **schemas.CREATE_COMPLETION)
async def create_completion(request: Request) -> Response:
    """Answer a conversation, checked and voted on where that is possible."""
    rim: Rim = request.app.state.rim
    admission: Admission = request.app.state.admission
    tenant = await authenticate(request, "infer")
    body = await request.body()
    with ExitStack() as leaving:
        leaving.enter_context(admission.enter())
        hangup = Hangup(request.receive)
        leaving.callback(hangup.close)
        task = await _parse(request, body, tenant, rim)
        if not task.stream:
            return _reply(await hangup.run(_answer(task, rim)))
        # The stream begins only after everything that can refuse the task has agreed.
        opened = await hangup.run(open_task(task, rim))
        return AnswerStream(
            opened,
            rim,
            hangup=hangup,
            leaving=leaving.pop_all(),
            comment_s=_comment_s(request, rim.settings),
            headers=opening_headers(task, opened.plan),
        )


async def _parse(request: Request, body: bytes, tenant: Tenant, rim: Rim) -> Task:
    arrival = Arrival(
        trace_id=f"chatcmpl-{ULID()}",
        request_id=request.state.request_id,
        received_at=rim.clock(),
        tenant=tenant.name,
        secret=request.app.state.secret,
    )
    catalog: Catalog = request.app.state.catalog
    models = await catalog.engines_by_model(rim.engines)
    if len(body) <= PARSE_INLINE_BYTES:
        return parse_chat(body, request.headers, arrival, rim.settings, models)
    return await asyncio.to_thread(parse_chat, body, request.headers, arrival, rim.settings, models)


async def _answer(task: Task, rim: Rim) -> Group:
    return await answer(await open_task(task, rim), rim)


def _reply(group: Group) -> Response:
    headers = response_headers(group)
    if (error := error_of(group)) is not None:
        return error_reply(error, headers, verification_of(group))
    return Json(to_completion(group), headers=headers)


def _comment_s(request: Request, settings: Settings) -> float:
    """Seconds of silence on a stream: well below what the client says it bears."""
    timeout_s = read_timeout_s(request.headers)
    configured = settings.server.stream_comment_s
    return configured if timeout_s is None else min(configured, timeout_s / 2)
