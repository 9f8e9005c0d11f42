"""`verivote serve`: the gateway in front of one model server, until it is told to stop.

SIGTERM and Ctrl-C stop listening at once; open requests get `server.grace_s` seconds to end.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
import uvicorn
import uvloop
from fastapi import FastAPI

from app import __version__
from app.cli import UNAVAILABLE
from app.cli.options import ConfigOption, DataOption, settings_from
from app.errors import ConfigError
from app.main import create_app
from app.settings import LOOPBACK_HOSTS, Settings
from app.telemetry import setup_logging, setup_tracing

cli = typer.Typer(add_completion=False, rich_markup_mode=None)

SWITCH_S = 0.0005
"""Longest wait of a thread for the interpreter."""

WAYS = """no model server is named. Name one in one of these ways:
  verivote serve --upstream http://host:8000/v1     any OpenAI-compatible server
  verivote serve --model NAME_OR_PATH               a vLLM that is started here
  verivote serve --embedded                         the small local model
  OPENAI_BASE_URL=http://host:8000/v1 verivote serve
or as [engines.main] in a file: verivote serve --config FILE"""


@cli.command()
def serve(
    upstream: Annotated[
        str | None,
        typer.Option("--upstream", metavar="URL", help="OpenAI-compatible server, up to /v1."),
    ] = None,
    upstream_model: Annotated[
        str | None,
        typer.Option("--upstream-model", metavar="NAME", help="Model to ask it for."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME_OR_PATH", help="Model that a vLLM started here serves."
        ),
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use the small local model (extra `demo`).")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Serve the gateway in front of one model server."""
    flags = engine_flags(upstream, upstream_model, embedded, os.environ, model=model)
    flags["server"] = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    settings = with_sdk_engine(settings_from(config, data, flags), os.environ)
    run(settings, lambda url: typer.echo(announcement(settings, url)))


def engine_flags(
    upstream: str | None,
    upstream_model: str | None,
    embedded: bool,
    environ: Mapping[str, str],
    *,
    model: str | None = None,
) -> dict[str, Any]:
    """The engine called `main` as the flags describe it. Raises `ConfigError`."""
    named = {"--upstream": upstream is not None, "--model": model is not None}
    given = [flag for flag, is_given in (*named.items(), ("--embedded", embedded)) if is_given]
    if len(given) > 1:
        raise ConfigError(f"give {given[0]} or {given[1]}, not both")
    if upstream_model is not None and upstream is None:
        raise ConfigError("--upstream-model needs --upstream")
    main: dict[str, Any] = {}
    if upstream is not None:
        main = sdk_engine(upstream, environ)
        if upstream_model is not None:
            main["model"] = upstream_model
    if model is not None:
        main = {"kind": "vllm", "model": model}
    if embedded:
        main = {"kind": "embedded"}
    return {"engines": {"main": main}} if main else {}


def with_sdk_engine(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Settings that name an engine: as they are, or the one the OpenAI SDK's variables name."""
    if settings.engines:
        return settings
    base_url = environ.get("OPENAI_BASE_URL", "")
    if not base_url:
        raise ConfigError(WAYS)
    where = urlsplit(base_url)
    if where.port == settings.server.port and where.hostname in LOOPBACK_HOSTS:
        raise ConfigError(
            f"OPENAI_BASE_URL is '{base_url}', the address of this gateway itself; "
            "name the model server with --upstream URL"
        )
    main = sdk_engine(base_url, environ)
    return Settings.model_validate({**settings.model_dump(), "engines": {"main": main}})


def sdk_engine(base_url: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """An engine at this address with the SDK's key, where that is set."""
    main = {"kind": "openai", "base_url": base_url}
    if environ.get("OPENAI_API_KEY"):
        main["api_key"] = "env:OPENAI_API_KEY"
    return main


def announcement(settings: Settings, url: str) -> str:
    """The one line that `serve` prints: address, engine, where the traces are."""
    engine = settings.engines.get("main") or next(iter(settings.engines.values()))
    behind = {
        "openai": engine.base_url,
        "vllm": f"vLLM with {engine.model}, which is starting",
        "embedded": "the small local model",
    }[engine.kind]
    return f"verivote {__version__} serves {url}/v1 · engine: {behind} · traces: {url}/traces"


def run(settings: Settings, on_ready: Callable[[str], asyncio.Task[None] | None]) -> None:
    """Serve until SIGTERM or Ctrl-C. `on_ready` gets the base URL once requests are answered.

    A task that it returns runs beside the server and is cancelled before the drain begins.
    Raises `ConfigError`, and `Exit(3)` when the address cannot be listened on.
    """
    setup_logging()
    stop_tracing = setup_tracing(settings.telemetry)
    # The spool's thread must get its turn at once: every reply waits for it.
    sys.setswitchinterval(SWITCH_S)
    listening = listen(settings.server.host, settings.server.port)
    try:
        uvloop.run(_serve(create_app(settings), settings, listening, on_ready))
    finally:
        listening.close()
        stop_tracing()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that the address is known before the first request."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "the port is in use" if taken else os.strerror(error.errno or 0)
        typer.echo(f"verivote: cannot listen on {host}:{port}: {why}; try --port 0", err=True)
        raise typer.Exit(UNAVAILABLE) from None


def base_url(listening: socket.socket) -> str:
    """The address that a client on this machine can use."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(
    application: FastAPI,
    settings: Settings,
    listening: socket.socket,
    on_ready: Callable[[str], asyncio.Task[None] | None],
) -> None:
    # The lifespan is entered here, not by uvicorn, so that its errors stay what they are.
    async with application.router.lifespan_context(application):
        config = uvicorn.Config(
            application,
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.server.grace_s),
        )
        server = _Server(config, lambda: on_ready(base_url(listening)))
        await server.serve(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that says when it is ready, and whose process outlives the signal that ends it."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], asyncio.Task[None] | None]
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._beside: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is loaded now stays: the collector need not walk through it again and again.
        gc.collect()
        gc.freeze()
        self._beside = self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._beside is not None:
            self._beside.cancel()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals begin the drain; unlike uvicorn's own they are not raised again after it,
        because the rim still has to be closed."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
