"""The composition root: the only place that wires rooms together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from app import __version__
from app.api.routes import install_api
from app.cache.make import make_cache
from app.doubts import Doubts
from app.engines.base import Engine
from app.errors import ConfigError, EngineUnavailable
from app.evaluate import HeldOut, evaluate, held_out_of_file, held_out_of_log
from app.fitting import NightlyFit
from app.gateway import Rim
from app.learning import Learning
from app.metrics import observe_cache
from app.policies import PolicyBook
from app.retrain.evidence import Outcome
from app.retrain.night import NightParts, check_objective
from app.retrain.promotion import CanaryWatch
from app.retrain.schedule import Nightly
from app.routing.routes import CompiledRoute, compile_route
from app.settings import CacheSettings, EngineSettings, PoolSettings, Settings
from app.store.database import database_url
from app.store.keys import KeyRing, server_secret
from app.store.nights import Nights
from app.store.nowhere import NowhereStore
from app.store.policies import PolicyTable
from app.store.sql import SqlStore
from app.ui import pages
from verifiers.base import Ask, BadCheck, VerifierSpec, known_verifiers
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
    check_objective(settings.retrain)


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


@asynccontextmanager
async def bare_rim(settings: Settings) -> AsyncIterator[Rim]:
    """The rim for a command that asks models and serves nobody: it logs and caches nothing.

    Raises `ConfigError` when the settings name something that does not exist.
    """
    engines = {
        name: make_engine(name, each, settings.data) for name, each in settings.engines.items()
    }
    rim = Rim(
        settings=settings,
        engines=engines,
        runner=make_runner(settings, engines, lambda *_: None),
        pools=make_pools(settings),
        routes=make_routes(settings),
        cache=make_cache(CacheSettings(), b"", clock=time.time),
        store=NowhereStore(),
    )
    async with AsyncExitStack() as closing:
        parts: tuple[Part, ...] = (rim.runner, *engines.values())
        for part in parts:
            await part.start()
            closing.push_async_callback(part.close)
        yield rim


def night_parts(
    rim: Rim,
    database: AsyncEngine,
    *,
    goes_on: bool = True,
    tell: Callable[[str], None] | None = None,
) -> NightParts:
    """What a night works with. `tell` hears how far it is; the log does otherwise."""
    settings, name = rim.settings, rim.settings.retrain.engine
    gate = settings.retrain.gate
    held_out: dict[int, tuple[HeldOut, ...]] = {}

    def engine() -> Engine:
        if name not in rim.engines:
            known = ", ".join(sorted(rim.engines))
            raise ConfigError(f"retrain.engine names engine '{name}'; known: {known}")
        return rim.engines[name]

    async def base_model() -> str:
        # A server that is away would be taken for one whose model has another name.
        if not await engine().is_up():
            raise EngineUnavailable(f"engine '{name}' does not answer, so no night can begin")
        return await engine().model_for("auto")

    async def load(policy: str, folder: Path) -> None:
        await engine().load_policy(policy, folder)

    async def ask(policy: str, seed: int) -> tuple[Outcome, ...]:
        # Both policies of a night get the prompts that were there when the first one was asked.
        if seed not in held_out:
            held_out.clear()
            held_out[seed] = (
                await asyncio.to_thread(held_out_of_file, Path(gate.file), name)
                if gate.file
                else await held_out_of_log(database, name, most=gate.max_prompts)
            )
        return await evaluate(rim, held_out[seed], policy, gate.samples, seed)

    return NightParts(
        database_url=database_url(settings),
        nights=Nights(database),
        policies=PolicyTable(database),
        base_model=base_model,
        engine_model=settings.engines[name].model if name in settings.engines else "",
        load=load,
        evaluate=ask,
        verifiers={verifier.name: verifier.version for verifier in known_verifiers()},
        data=settings.data.absolute(),
        owner=str(ULID()),
        goes_on=goes_on,
        clock=rim.clock,
        tell=tell or logging.getLogger("verivote.night").info,
    )


def create_app(settings: Settings) -> FastAPI:
    """The whole gateway. Nothing is opened before its lifespan begins.

    Raises `ConfigError` when the settings name something that does not exist.
    """
    if not settings.engines:
        raise ConfigError("no engine is configured; add [engines.main] or start with --upstream")
    check_objective(settings.retrain)
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
        store.engine,
        engines,
        share=settings.retrain.canary.share,
        clock=time.time,
        named={route.policy for route in settings.routes},
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
    canaries = CanaryWatch(store.engine, settings.retrain.canary, clock=time.time)
    nightly = Nightly(night_parts(rim, store.engine), settings.retrain)
    fitting = NightlyFit(
        store.engine,
        at=settings.routing.fit_at,
        database=database_url(settings),
        deadline_ms=settings.defaults.deadline_ms,
        max_loss=settings.routing.max_loss,
        clock=time.time,
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
                canaries,
                nightly,
                fitting,
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
    app.state.nights = Nights(store.engine)
    app.state.policies = PolicyTable(store.engine)
    app.state.nightly = nightly
    install_api(app, settings, secret=secret, keys=KeyRing(store.engine, secret, clock=time.time))
    app.include_router(pages.router)
    return app
