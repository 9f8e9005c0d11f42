"""`/v1/admin/retrain`: begin a night, and see how nights went."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import schemas
from app.api.auth import authenticate
from app.api.errors import Json
from app.api.nights_query import parse_retrain
from app.errors import ConfigError, RequestError
from app.retrain.schedule import Nightly
from app.store.nights import NightRow, Nights

router = APIRouter(tags=["nights"])

LISTED = 100


@router.post("/v1/admin/retrain", **schemas.POST_RETRAIN)
async def begin_night(request: Request) -> Response:
    """Begin a night, or name the one that is there: 202 while it runs, 200 when it has ended."""
    await authenticate(request, "retrain")
    wanted = parse_retrain(await request.body())
    nightly: Nightly = request.app.state.nightly
    try:
        claim = await nightly.begin(objective=wanted.objective, day=wanted.day)
    except ConfigError as wrong:
        raise RequestError(
            f"No night can begin: {wrong.message}", status=409, code="night_not_possible"
        ) from None
    return Json(to_night(claim.night), 202 if claim.night.status == "running" else 200)


@router.get("/v1/admin/retrain", **schemas.LIST_NIGHTS)
async def list_nights(request: Request) -> Response:
    """Nights, newest first."""
    await authenticate(request, "retrain")
    nights: Nights = request.app.state.nights
    found = await nights.list(limit=LISTED)
    return Json({"object": "list", "data": [to_night(night) for night in found]})


@router.get("/v1/admin/retrain/{night_id}", **schemas.GET_NIGHT)
async def get_night(request: Request) -> Response:
    """One night with its report."""
    await authenticate(request, "retrain")
    nights: Nights = request.app.state.nights
    night = await nights.get(request.path_params["night_id"])
    return Json({**to_night(night), "report": night.report})


def to_night(night: NightRow) -> dict[str, Any]:
    return {
        "id": night.id,
        "object": "night",
        "engine": night.schedule,
        "day": night.day.isoformat(),
        "status": night.status,
        "phase": night.phase,
        "reason": night.report["night"]["reason"] if night.report else "",
        "policy": night.policy,
        "objective": night.objective,
        "started_at": night.started_at,
        "finished_at": night.finished_at,
    }
