"""`/v1/models`: the aliases of this gateway and the models of its upstreams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import schemas
from app.api.auth import authenticate
from app.api.errors import Json
from app.engines.base import Engine, EngineModel
from app.errors import EngineError, ModelNotFound
from app.settings import Settings

router = APIRouter(tags=["models"])

TTL_S = 5.0
TIMEOUT_S = 2.0


class Catalog:
    """The upstreams' model lists, remembered for a few seconds.

    An upstream that is down has no models for that long; its aliases go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read_at: float | None = None
        self._found: dict[str, tuple[str, EngineModel]] = {}
        self._by_model: dict[str, str] = {}
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def models(self, engines: Mapping[str, Engine]) -> dict[str, tuple[str, EngineModel]]:
        """Model id → engine name and entry, at most `TTL_S` old."""
        if self._is_stale():
            await self._refresh(engines)
        return self._found

    async def engines_by_model(self, engines: Mapping[str, Engine]) -> dict[str, str]:
        """Model id → engine name. Only the first caller waits; later ones get what is known."""
        if self._read_at is None:
            await self._refresh(engines)
        elif self._is_stale() and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(engines))
        return self._by_model

    def _is_stale(self) -> bool:
        return self._read_at is None or self._clock() - self._read_at > TTL_S

    async def _refresh(self, engines: Mapping[str, Engine]) -> None:
        try:
            async with self._reading:
                if self._is_stale():
                    self._found = await _read(engines)
                    self._by_model = {id_: engine for id_, (engine, _) in self._found.items()}
                    self._read_at = self._clock()
        finally:
            self._refreshing = None


async def _read(engines: Mapping[str, Engine]) -> dict[str, tuple[str, EngineModel]]:
    found: dict[str, tuple[str, EngineModel]] = {}
    for name, engine in engines.items():
        try:
            async with asyncio.timeout(TIMEOUT_S):
                listed = await engine.models()
        except (EngineError, TimeoutError):
            continue
        for model in listed:
            found.setdefault(model.id, (name, model))
    return found


def list_models(
    settings: Settings, upstream: Mapping[str, tuple[str, EngineModel]]
) -> list[dict[str, Any]]:
    """Aliases first, then the upstreams' own; the wildcard is no model."""
    aliases = [_entry(alias, 0, "verivote") for alias in sorted(settings.aliases) if alias != "*"]
    theirs = [
        _entry(model.id, model.created, model.owned_by or engine)
        for engine, model in upstream.values()
        if model.id not in settings.aliases
    ]
    return aliases + theirs


def _entry(model: str, created: int, owner: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": created, "owned_by": owner}


async def _listed(request: Request) -> list[dict[str, Any]]:
    await authenticate(request, "infer")
    rim = request.app.state.rim
    catalog: Catalog = request.app.state.catalog
    return list_models(rim.settings, await catalog.models(rim.engines))


@router.get("/models", include_in_schema=False)
@router.get("/v1/models", **schemas.LIST_MODELS)
async def models(request: Request) -> Response:
    """Every model that can be asked for."""
    return Json({"object": "list", "data": await _listed(request)})


@router.get("/models/{model:path}", include_in_schema=False)
@router.get("/v1/models/{model:path}", **schemas.GET_MODEL)
async def model(request: Request) -> Response:
    """One model. Ids may contain slashes and colons."""
    wanted = request.path_params["model"]
    for entry in await _listed(request):
        if entry["id"] == wanted:
            return Json(entry)
    if wanted and "*" in request.app.state.settings.aliases:
        return Json(_entry(wanted, 0, "verivote"))
    raise ModelNotFound(f"The model '{wanted}' does not exist.", param="model")
