"""The composition root: the only place that wires rooms together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app import __version__
from app.cache.memory import MemoryCache
from app.engines.base import Engine
from app.errors import ConfigError
from app.gateway import Rim
from app.settings import EngineSettings, Settings
from verifiers.run import Runner


def make_engine(name: str, settings: EngineSettings) -> Engine:
    """The engine of one `[engines.<name>]` section."""
    if settings.kind == "embedded":
        from app.engines.embedded import EmbeddedEngine

        return EmbeddedEngine(settings, name)
    from app.engines.openai import OpenAIEngine

    if not settings.base_url:
        raise ConfigError(f"engines.{name}.base_url is missing; give the server's address")
    return OpenAIEngine(settings, name)


def make_cache(settings: Settings) -> MemoryCache:
    if settings.cache.url != "memory://":
        raise ConfigError(f"cache.url: '{settings.cache.url}' is not known; known: memory://")
    return MemoryCache(
        ttl_s=settings.cache.ttl_s, max_bytes=settings.cache.max_bytes, clock=time.time
    )
