"""Is it alive, is it ready, which version, what does it count. No probe ever runs the model."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.api import schemas
from app.api.auth import authenticate
from app.api.errors import Json, error_body
from app.engines.base import Engine
from app.errors import Overloaded
from app.gateway import Rim
from app.metrics import render
from verifiers.base import known_verifiers
from verifiers.extract import EXTRACTOR_VERSION

router = APIRouter(tags=["operations"])

PROBE_S = 2.0


@router.get("/livez", **schemas.LIVEZ)
async def livez(request: Request) -> Response:
    """The event loop turns."""
    return Json({"status": "ok"})


@router.get("/healthz", include_in_schema=False)
@router.get("/readyz", **schemas.READYZ)
async def readyz(request: Request) -> Response:
    """Requests can be answered: the spool can be written and an engine is up.

    A database that is away is `degraded` and still ready: the spool grows and drains later. So are
    a cache that is bypassed, a verifier that passed a known-bad answer, and a sandbox that was
    tried and does not hold: the verdicts of those are errors. `starting` is not ready yet: a model
    server of the gateway's own loads its model.
    """
    rim: Rim = request.app.state.rim
    store = await rim.store.health()
    up = await asyncio.gather(*(_is_up(engine) for engine in rim.engines.values()))
    checks: dict[str, Any] = {
        "spool": store.writable,
        "spool_depth": store.spool_depth,
        "spool_oldest_s": store.spool_oldest_s,
        "database": store.database,
        "cache": rim.cache.is_up,
        "engines": dict(zip(rim.engines, up, strict=True)),
        "servers": _servers(rim),
        # A number and no names: verifiers may be hidden, and this page asks for no key.
        "verifiers_out_of_use": len(rim.runner.out_of_use),
        "sandbox": not rim.runner.sandbox_fault,
    }
    if store.writable and any(up):
        missing = not store.database or not rim.cache.is_up or not all(up)
        degraded = missing or bool(rim.runner.out_of_use) or bool(rim.runner.sandbox_fault)
        return Json({"status": "degraded" if degraded else "ok", "checks": checks})
    error = Overloaded("The gateway is not ready; `checks` says what is missing.", code="not_ready")
    states = [state for engine in rim.engines.values() if (state := engine.server_state())]
    starting = store.writable and any(state.state == "starting" for state in states)
    status = "starting" if starting else "unavailable"
    return Json({**error_body(error), "status": status, "checks": checks}, 503)


def _servers(rim: Rim) -> dict[str, Any]:
    """The model servers that the gateway itself runs, by engine.

    What one died of is its own words, with paths of this machine in them: they are for who is on
    it, and not for everybody where keys are asked for.
    """
    open_to_all = rim.settings.server.keys == "required"
    return {
        name: {"state": now.state, "restarts": now.restarts}
        | ({"why": now.why} if now.why and not open_to_all else {})
        for name, engine in rim.engines.items()
        if (now := engine.server_state()) is not None
    }


async def _is_up(engine: Engine) -> bool:
    try:
        async with asyncio.timeout(PROBE_S):
            return await engine.is_up()
    except TimeoutError:
        return False


@router.get("/version", **schemas.VERSION)
async def version(request: Request) -> Response:
    """What an answer of this gateway was made and judged by."""
    return Json(
        {
            "version": __version__,
            "extractor": EXTRACTOR_VERSION,
            "verifiers": {verifier.name: verifier.version for verifier in known_verifiers()},
        }
    )


@router.get("/metrics", **schemas.METRICS)
async def metrics(request: Request) -> Response:
    """Counters in Prometheus' text form."""
    await authenticate(request, "admin")
    return Response(render(), media_type=CONTENT_TYPE_LATEST)
