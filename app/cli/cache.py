"""`verivote cache`: what is kept on the cache's server, and away with it.

It works on Redis beside running gateways. A cache in memory lives in its gateway's process: the
page `/cache` and the metrics of that gateway tell of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from app.cache.base import Cache
from app.cache.make import MEMORY, make_cache
from app.cli import USAGE
from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.errors import CacheError, ConfigError
from app.settings import Settings
from app.store.keys import server_secret

cli = typer.Typer(
    help="Look into the cache and empty it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

PATIENCE_S = 5.0
"""What one operation may take when no request waits for it."""
IN_MEMORY = (
    "cache.url is memory://: entries live in the process of the gateway and end with it. "
    "Its page /cache and the metrics verivote_cache_* tell of them"
)

T = TypeVar("T")


@cli.command()
def stats(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Count what is kept. What each gateway made of it is on its page /cache."""
    settings = settings_from(config, data)
    if settings.cache.url == MEMORY:
        told = {"place": MEMORY, "note": IN_MEMORY}
        typer.echo(json.dumps(told) if as_json else f"{IN_MEMORY}.")
        return
    found = _with_cache(settings, lambda cache: cache.stats())
    kept = {
        "place": found.place,
        "entries": found.entries,
        "negatives": found.negatives,
        "bytes": found.bytes,
        "complete": found.complete,
    }
    if as_json:
        typer.echo(json.dumps(kept))
        return
    more = "" if found.complete else " at least"
    typer.echo(f"{found.place}")
    typer.echo(f"verified answers{more}: {found.entries}")
    typer.echo(f"known failures{more}: {found.negatives}")
    typer.echo(f"bytes{more}: {found.bytes}")


@cli.command()
def purge(
    tenant: Annotated[str | None, typer.Option(help="Everything of this tenant.")] = None,
    trace: Annotated[
        str | None,
        typer.Option(metavar="ID", help="What came from this trace; it may be admitted again."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything of everybody.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop entries. Answers that were reported wrong stay refused."""
    if sum((tenant is not None, trace is not None, everything)) != 1:
        typer.echo("verivote: give one of --tenant, --trace and --all", err=True)
        raise typer.Exit(USAGE)
    settings = settings_from(config, data)
    if settings.cache.url == MEMORY:
        raise ConfigError(f"{IN_MEMORY}; a restart of the gateway empties it")

    async def drop(cache: Cache) -> int:
        if trace is not None:
            return await cache.delete(trace, refuse=False)
        return await cache.purge(tenant)

    dropped = _with_cache(settings, drop)
    typer.echo(json.dumps({"dropped": dropped}) if as_json else f"dropped {dropped}")


def _with_cache(settings: Settings, work: Callable[[Cache], Awaitable[T]]) -> T:
    """Raises `CacheError` when the server does not answer."""

    # What the gateway would log is said once, in the error.
    logging.getLogger("verivote.cache").addHandler(logging.NullHandler())

    async def run() -> T:
        secret = server_secret(Path(settings.data) / "secret")
        cache = make_cache(settings.cache, secret, clock=time.time, budget_s=PATIENCE_S)
        try:
            await cache.start()
            if not cache.is_up:
                found = await cache.stats()
                raise CacheError(f"cache.url: {found.place} cannot be used: {found.fault}")
            return await work(cache)
        finally:
            await cache.close()

    return asyncio.run(run())
