"""`/v1/admin/drift`: has the traffic moved?"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import schemas
from app.api.auth import authenticate
from app.api.drift_query import parse_drift
from app.api.errors import Json
from app.retrain.moving import compare, windows
from app.store.database import database_url

router = APIRouter(tags=["nights"])


@router.get("/v1/admin/drift", **schemas.GET_DRIFT)
async def get_drift(request: Request) -> Response:
    """The last days of the log against the days before."""
    await authenticate(request, "admin")
    asked = parse_drift(request.query_params)
    state = request.app.state
    before, after = windows(state.rim.clock(), asked.days, asked.before)
    moving = await compare(database_url(state.settings), before, after, engine=asked.engine)
    return Json({"object": "drift", **moving.to_json()})
