"""Adapters of trained policies on the replicas of one vLLM: loaded, unloaded, listed.

A load reaches only the server that it is sent to, so every replica is told; the copies that one
server runs itself (`--data-parallel-size`) are told by it. Names are never used twice for other
weights: vLLM would answer from a prefix cache that the old ones have filled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from app.engines.upstream import Upstream
from app.engines.wire import read_json
from app.errors import EngineError, EngineGarbage

LOAD, UNLOAD, MODELS = "/load_lora_adapter", "/unload_lora_adapter", "/models"
LIST_WITHIN_S = 10.0
LOAD_WITHIN_S = 120.0
"""A large adapter comes from a slow disk, and a busy server loads between two steps."""
HOW = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"


class Adapters:
    """The adapters of an engine. `replicas` are asked at once and must agree."""

    def __init__(self, replicas: Sequence[Upstream]) -> None:
        self._replicas = replicas

    async def load(self, name: str, path: Path) -> None:
        """Raises `EngineError` that names the replica; the others may have it by then."""
        where = _place(path)
        await self._on_all(lambda replica: _load(replica, name, where))

    async def unload(self, name: str) -> None:
        """One that is not there is not there. Raises `EngineError`."""
        await self._on_all(lambda replica: _unload(replica, name))

    async def listed(self) -> tuple[str, ...]:
        """What every replica serves, in the order of the first. Raises `EngineError`."""
        found = await self._on_all(_paths)
        return tuple(name for name in found[0] if all(name in other for other in found))

    async def _on_all(self, ask: Callable[[Upstream], Awaitable[Any]]) -> list[Any]:
        done = await asyncio.gather(*map(ask, self._replicas), return_exceptions=True)
        for replica, outcome in zip(self._replicas, done, strict=True):
            if isinstance(outcome, EngineError) and len(self._replicas) > 1:
                outcome.message = f"{replica.settings.base_url}: {outcome.message}"
            if isinstance(outcome, BaseException):
                raise outcome
        return done


def _place(path: Path) -> str:
    return str(path.absolute())


async def _load(replica: Upstream, name: str, where: str) -> None:
    served = (await _paths(replica)).get(name)
    if served == where:
        return
    if served is not None:
        raise EngineError(
            f"'{name}' is served from {served} already; a name is never used for other weights"
        )
    body = orjson.dumps({"lora_name": name, "lora_path": where})
    reply = await replica.exchange("POST", LOAD, body, within_s=LOAD_WITHIN_S)
    if reply.status == 200 or "already been loaded" in reply.said():
        return
    if _has_no_route(reply.status, reply.data):
        raise EngineError(f"The model server loads no adapters: {HOW}.")
    raise EngineError(f"The model server did not load '{name}' from {where}: {reply.said()}")


async def _unload(replica: Upstream, name: str) -> None:
    if name not in await _paths(replica):
        return
    body = orjson.dumps({"lora_name": name})
    reply = await replica.exchange("POST", UNLOAD, body, within_s=LOAD_WITHIN_S)
    if reply.status != 200 and name in await _paths(replica):
        raise EngineError(f"The model server did not unload '{name}': {reply.said()}")


async def _paths(replica: Upstream) -> dict[str, str]:
    """Where each adapter came from, by name."""
    listed = await replica.get_json(MODELS, within_s=LIST_WITHIN_S)
    entries = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise EngineGarbage("The model server's model list has no list 'data'.")
    return {
        str(each.get("id")): str(each.get("root") or "") for each in entries if each.get("parent")
    }


async def loads_adapters(replica: Upstream, *, within_s: float) -> bool:
    """True when there is something to load them with. The request names none, so none is loaded."""
    reply = await replica.exchange("POST", LOAD, b"{}", within_s=within_s)
    return reply.status in (400, 422) and not _has_no_route(reply.status, reply.data)


def _has_no_route(status: int, data: bytes) -> bool:
    """FastAPI's own 404, which is not that of an adapter that is not there."""
    if status == 405:
        return True
    try:
        reply = read_json(data)
    except EngineGarbage:
        return status == 404
    return status == 404 and not (isinstance(reply, dict) and "error" in reply)
