"""The composition root: the only place that wires rooms together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI

from app import __version__
from app.api.routes import install_api
from app.cache.make import make_cache
from app.doubts import Doubts
from app.engines.base import Engine
from app.errors import ConfigError
from app.gateway import Rim
from app.learning import Learning
from app.metrics import observe_cache
from app.policies import PolicyBook
from app.routing.routes import CompiledRoute, compile_route
from app.settings import EngineSettings, PoolSettings, Settings
from app.store.database import database_url
from app.store.keys import KeyRing, server_secret
from app.store.sql import SqlStore
from app.ui import pages
from verifiers.base import Ask, BadCheck, VerifierSpec
from verifiers.canaries import OnCanary
from verifiers.plugins import BadPlugin, installed_plugins, load_plugin
from verifiers.rotation import Pool
from verifiers.run import Runner, check_spec


class Part(Protocol):
    """What is opened and closed with the gateway."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


def make_engine(name: str, settings: EngineSettings, data: Path) -> Engine:
    """The engine of one `[engines.<name>]` section; what it writes is below the folder `data`."""
    if settings.kind == "embedded":
        from app.engines.embedded import EmbeddedEngine

        return EmbeddedEngine(settings, name)
    if settings.kind == "vllm":
        from app.engines.vllm import VLLMEngine

        return VLLMEngine(settings, name, (data / "engines" / name).absolute())
    from app.engines.openai import OpenAIEngine

    if not settings.base_url:
        raise ConfigError(f"engines.{name}.base_url is missing; give the server's address")
    return OpenAIEngine(settings, name)


def make_ask(settings: Settings, engines: Mapping[str, Engine]) -> Ask | None:
    """How judges reach a model, or None where no engine is named for them."""
    name = settings.verifiers.judge_engine
    return engines[name].ask if name else None


def make_pools(settings: Settings) -> tuple[Pool, ...]:
    """The pools of the settings. Raises `ConfigError` for a verifier that cannot be meant."""
    return tuple(_make_pool(name, each) for name, each in settings.verifiers.pools.items())


def _make_pool(name: str, settings: PoolSettings) -> Pool:
    key = f"verifiers.pools.{name}.verifiers"
    members = _make_specs(settings.verifiers, key, hidden=settings.hidden)
    kind = None if settings.kind == "any" else settings.kind
    return Pool(name=name, kind=kind, members=members, take=settings.take)


def make_routes(settings: Settings) -> tuple[CompiledRoute, ...]:
    """The routes of the settings. Raises `ConfigError` for one that cannot be meant."""
    return tuple(
        compile_route(each, place, _make_specs(each.verifiers, f"routes[{place}].verifiers"))
        for place, each in enumerate(settings.routes)
    )


def _make_specs(
    written: Sequence[Mapping[str, Any]], key: str, **defaults: Any
) -> tuple[VerifierSpec, ...]:
    """Verifiers of the operator's, from `[{ use = "steps" }, …]` under this key."""
    specs = []
    for index, each in enumerate(written):
        options = {name: value for name, value in each.items() if name != "use"}
        spec = VerifierSpec(
            use=each["use"],
            options={**defaults, **options},
            source="route",
            param=f"{key}[{index}]",
        )
        try:
            check_spec(spec)
        except BadCheck as bad:
            raise ConfigError(f"{bad.param}: {bad.message}") from None
        specs.append(spec)
    return tuple(specs)


def load_plugins(settings: Settings) -> None:
    """Raises `ConfigError` for a plug-in that cannot be loaded."""
    for number, plugin in enumerate(settings.verifiers.plugins):
        try:
            load_plugin(plugin)
        except BadPlugin as bad:
            raise ConfigError(f"verifiers.plugins[{number}]: {bad}") from None


def check_settings(settings: Settings) -> None:
    """What the sections cannot say of themselves: plug-ins, verifiers and patterns that exist."""
    load_plugins(settings)
    make_pools(settings)
    make_routes(settings)


def make_runner(settings: Settings, engines: Mapping[str, Engine], on_canary: OnCanary) -> Runner:
    """Raises `ConfigError` for a plug-in that cannot be loaded."""
    wanted = settings.verifiers
    load_plugins(settings)
    return Runner(
        plugins=(*installed_plugins(), *wanted.plugins),
        deadline_ms=wanted.deadline_ms,
        workers=wanted.workers,
        sandbox=wanted.sandbox,
        ask=make_ask(settings, engines),
        ask_deadline_ms=wanted.judge_deadline_ms,
        min_covered=wanted.min_covered_weight,
        canary_rate=wanted.canary_rate,
        on_canary=on_canary,
    )


def create_app(settings: Settings) -> FastAPI:
    """The whole gateway. Nothing is opened before its lifespan begins.

    Raises `ConfigError` when the settings name something that does not exist.
    """
    if not settings.engines:
        raise ConfigError("no engine is configured; add [engines.main] or start with --upstream")
    engines = {
        name: make_engine(name, each, settings.data) for name, each in settings.engines.items()
    }
    secret = server_secret(settings.data / "secret")
    store = SqlStore(database_url(settings), settings.data / "spool.db", clock=time.time)
    cache = make_cache(settings.cache, secret, clock=time.time, listener=observe_cache)
    doubts = Doubts(store, cache, time.time)
    learning = Learning(
        store.engine,
        settings.routing,
        deadline_ms=settings.defaults.deadline_ms,
        clock=time.time,
    )
    policies = PolicyBook(
        store.engine, engines, share=settings.retrain.canary.share, clock=time.time
    )
    rim = Rim(
        settings=settings,
        engines=engines,
        runner=make_runner(settings, engines, doubts.hear),
        pools=make_pools(settings),
        routes=make_routes(settings),
        cache=cache,
        store=store,
        learning=learning,
        policies=policies,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            # Closed in reverse: the engines first, the spool last, so that nothing is lost.
            parts: tuple[Part, ...] = (
                store,
                cache,
                doubts,
                learning,
                rim.runner,
                *engines.values(),
                # After the engines: what serves is loaded before the first request.
                policies,
            )
            for part in parts:
                await part.start()
                closing.push_async_callback(part.close)
            yield

    app = FastAPI(
        title="Verivote",
        version=__version__,
        summary="An OpenAI-compatible gateway that checks its answers.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.rim = rim
    install_api(app, settings, secret=secret, keys=KeyRing(store.engine, secret, clock=time.time))
    app.include_router(pages.router)
    return app
