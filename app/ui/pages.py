"""The pages for people: the list of traces, one trace, its labels, and the login.

One function a page. They read the store and never run a model.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from ulid import ULID

from app.api.auth import SESSION_COOKIE, authenticate, sign_session, tenant_of_key
from app.errors import NotFound, RequestError, Unauthenticated, VerivoteError
from app.retrain.moving import compare, windows
from app.retrain.schedule import next_time
from app.retrain.select import WHY
from app.store.base import Label, LabelKind
from app.store.database import database_url
from app.ui.cache_page import cache_page
from app.ui.drift import DriftQuery, drift_page
from app.ui.forms import check_token, form_token, read_form
from app.ui.labels import label_panel
from app.ui.night import night_page
from app.ui.nights import nights_page
from app.ui.reliability import reliability_page
from app.ui.render import render, static_response
from app.ui.shown import show_line
from app.ui.trace_detail import trace_detail
from app.ui.trace_list import ListQuery, trace_list

SESSION_S = 12 * 3_600
NOTE_CAP = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Context of `notice.html`."""

    title: str
    """What happened, in a few words."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    status: int
    """HTTP status of the page."""
    message: str
    """What happened and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPage:
    """Context of `login.html`."""

    title: str
    """Title of the browser tab."""
    session: bool
    """True when somebody is logged in by cookie, so that logging out makes sense."""
    next: str
    """Path to open after the login."""
    message: str
    """Why the last try failed; empty on the first."""


class PageRoute(APIRoute):
    """Failures become pages: a login when a key is missing, else a notice with the status."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except VerivoteError as error:
                return _explain(request, error)

        return handle_or_explain


router = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=Response)


@router.get("/")
async def home() -> Response:
    return RedirectResponse("/traces")


@router.get("/traces")
async def list_traces(request: Request) -> Response:
    """The list, filtered and paged by its URL."""
    tenant = await authenticate(request, "traces:read")
    query = ListQuery.parse(request.query_params)
    page = await request.app.state.rim.store.list(query.to_filter(tenant.sees))
    context = trace_list(page, query, base_url=_base_url(request), session=_has_session(request))
    return render("list.html", page=context)


@router.get("/traces/{trace_id}")
async def show_trace(request: Request, trace_id: str) -> Response:
    """One trace, from the verdict down to the raw request."""
    tenant = await authenticate(request, "traces:read")
    store = request.app.state.rim.store
    group = await store.get(trace_id, tenant=tenant.sees)
    if group is None:
        raise NotFound(f"There is no trace '{show_line(trace_id, 60)}', or it is not yours.")
    context = trace_detail(
        group,
        await store.labels(trace_id),
        base_url=_base_url(request),
        token=form_token(request),
        session=_has_session(request),
    )
    return render("trace.html", page=context)


@router.post("/traces/{trace_id}/label")
async def label_trace(request: Request, trace_id: str) -> Response:
    """Say whether an answer is right. A wrong answer also leaves the cache."""
    tenant = await authenticate(request, "traces:write")
    form = await read_form(request)
    check_token(request, form.get("token", ""))
    rim = request.app.state.rim
    group = await rim.store.get(trace_id, tenant=tenant.sees)
    if group is None:
        raise NotFound(f"There is no trace '{show_line(trace_id, 60)}', or it is not yours.")
    label = Label(
        id=str(ULID()),
        trace_id=trace_id,
        kind=_label_kind(form.get("kind", "")),
        created_at=rim.clock(),
        author=tenant.key_id or tenant.name,
        note=form.get("note", "").strip()[:NOTE_CAP] or None,
    )
    if label.kind == "note" and label.note is None:
        raise RequestError("The note is empty; write something first.", param="note")
    await rim.store.add_label(label)
    if label.kind == "wrong":
        for source in {trace_id, group.cache.source_trace_id} - {None}:
            await rim.cache.delete(source)
    if request.headers.get("hx-request") != "true":
        return RedirectResponse(f"/traces/{trace_id}#labels-title", status_code=303)
    panel = label_panel(
        trace_id,
        await rim.store.labels(trace_id),
        token=form_token(request),
        message=f"Saved: {label.kind}.",
    )
    return render("labels.html", panel=panel)


@router.get("/cache")
async def show_cache(request: Request) -> Response:
    """What is kept, what it was good for, and whether it works."""
    await authenticate(request, "admin")
    stats = await request.app.state.rim.cache.stats()
    return render("cache.html", page=cache_page(stats, session=_has_session(request)))


@router.get("/reliability")
async def show_reliability(request: Request) -> Response:
    """Whether the confidences of each route meant what they said; labels of all tenants count."""
    await authenticate(request, "admin")
    state = request.app.state
    learning = state.rim.learning
    promises = {r.name: r.max_error for r in state.settings.routes if r.max_error is not None}
    context = reliability_page(
        learning.calibrations() if learning else (), promises, session=_has_session(request)
    )
    return render("reliability.html", page=context)


@router.get("/drift")
async def show_drift(request: Request) -> Response:
    """Whether the traffic of the last days is that of before."""
    await authenticate(request, "admin")
    state = request.app.state
    query = DriftQuery.parse(request.query_params)
    before, after = windows(state.rim.clock(), query.days, query.before)
    moving = await compare(database_url(state.settings), before, after, engine=query.engine)
    context = drift_page(moving.to_json(), query, session=_has_session(request))
    return render("drift.html", page=context)


@router.get("/nights")
async def list_nights(request: Request) -> Response:
    """What each night came to, and which policies there are."""
    await authenticate(request, "admin")
    state = request.app.state
    retrain, now = state.settings.retrain, state.rim.clock()
    context = nights_page(
        await state.nights.list(),
        await state.policies.list(),
        next_at=next_time(now, retrain.schedule),
        share=retrain.canary.share,
        now=now,
        session=_has_session(request),
    )
    return render("nights.html", page=context)


@router.get("/nights/{night_id}")
async def show_night(request: Request, night_id: str) -> Response:
    """The report of one night."""
    await authenticate(request, "admin")
    night = await request.app.state.nights.get(night_id)
    if night.report is None:
        raise NotFound(f"Night '{show_line(night_id, 60)}' has no report yet.")
    context = night_page(night.report, why=WHY, session=_has_session(request))
    return render("night.html", page=context)


@router.get("/login")
async def ask_for_key(request: Request) -> Response:
    if request.app.state.settings.server.keys == "off":
        return RedirectResponse("/traces")
    return _login(request.query_params.get("next", ""), "")


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Trade an API key for a session cookie that scripts and other sites cannot use."""
    form = await read_form(request)
    state = request.app.state
    tenant = await tenant_of_key(state.keys, form.get("key", "").strip())
    if tenant is None or not tenant.may("traces:read"):
        why = "This key is not valid." if tenant is None else "This key may not read traces."
        return _login(form.get("next", ""), why, status=401 if tenant is None else 403)
    expires_at = state.rim.clock() + SESSION_S
    response = RedirectResponse(_local_path(form.get("next", "")), status_code=303)
    response.set_cookie(
        SESSION_COOKIE,
        sign_session(state.secret, tenant, expires_at=expires_at),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    await read_form(request)
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return response


@router.get("/static/ui/{name}")
async def static_file(name: str) -> Response:
    response = static_response(name)
    if response is None:
        raise NotFound
    return response


def _explain(request: Request, error: VerivoteError) -> Response:
    if request.headers.get("hx-request") == "true":
        return render("message.html", error.http_status, message=error.message)
    if isinstance(error, Unauthenticated) and request.method == "GET":
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(wanted)}", status_code=303)
    notice = Notice(
        title=_TITLES.get(error.http_status, "That did not work"),
        session=_has_session(request),
        status=error.http_status,
        message=error.message,
    )
    return render("notice.html", error.http_status, page=notice)


_TITLES = {
    400: "That cannot be shown",
    403: "Not allowed",
    404: "Not found",
    503: "Not available just now",
}


def _login(wanted: str, message: str, *, status: int = 200) -> Response:
    context = LoginPage(title="Log in", session=False, next=_local_path(wanted), message=message)
    return render("login.html", status, page=context)


def _local_path(wanted: str) -> str:
    """Where to go after the login: a path of the pages, never another site."""
    known = wanted.startswith(("/traces", "/nights", "/drift")) or wanted in (
        "/cache",
        "/reliability",
    )
    return wanted if known and "\\" not in wanted else "/traces"


def _label_kind(said: str) -> LabelKind:
    kinds: tuple[LabelKind, ...] = get_args(LabelKind)
    for kind in kinds:
        if said == kind:
            return kind
    known = ", ".join(kinds)
    raise RequestError(f"kind is '{show_line(said, 40)}'; known: {known}", param="kind")


def _has_session(request: Request) -> bool:
    return SESSION_COOKIE in request.cookies


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")
