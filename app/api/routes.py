"""Mounts the API on an app: routes, errors, edge, and the state they share."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from app.api import chat, drift, health, models, nights, traces
from app.api.admission import Admission
from app.api.errors import install_handlers
from app.api.middleware import Edge
from app.api.schemas import describe
from app.settings import Settings
from app.store.keys import KeyRing


def install_api(app: FastAPI, settings: Settings, *, secret: bytes, keys: KeyRing) -> None:
    """Everything under `/v1` and the health routes. `app.state.rim`, `nights` and `nightly` must be
    set before a request.

    `secret` signs sessions and keys the hashes of user ids; it is the server's own random bytes.
    """
    app.state.settings = settings
    app.state.secret = secret
    app.state.keys = keys
    app.state.admission = Admission(settings.server.max_inflight)
    app.state.catalog = models.Catalog()
    rooms = (chat, models, traces, nights, drift, health)
    for router in (room.router for room in rooms):
        app.include_router(router)
    install_handlers(app)
    app.add_middleware(Edge, settings=settings.server)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            required = settings.server.keys == "required"
            app.openapi_schema = describe(app, keys_required=required)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
