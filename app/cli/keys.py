"""`verivote keys`: create, list and revoke API keys."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.cli.tables import print_table, printable
from app.settings import Settings
from app.store import schema
from app.store.database import boundary, database_url, open_engine
from app.store.keys import SCOPES, KeyRing, KeyRow, server_secret

cli = typer.Typer(
    help="Create, list and revoke API keys.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

T = TypeVar("T")


@cli.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose traces, cache and limits it uses.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What it may do, repeatable: {', '.join(SCOPES)}. [default: infer]"),
    ] = None,
    name: Annotated[str, typer.Option(help="A note for people.")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    scopes = scope or ["infer"]
    row, plaintext = _with_ring(
        settings_from(config, data), lambda ring: ring.create(tenant, scopes, name)
    )
    if as_json:
        typer.echo(json.dumps({"key": plaintext, **_to_json(row)}))
    else:
        typer.echo(plaintext)
        typer.echo(f"key {row.id} of {row.tenant}: {', '.join(row.scopes)}", err=True)


@cli.command("list")
def list_keys(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List all keys, revoked ones too; secrets are not kept."""
    rows = _with_ring(settings_from(config, data), lambda ring: ring.list())
    if as_json:
        typer.echo(json.dumps([_to_json(row) for row in rows]))
        return
    print_table(
        ("id", "tenant", "scopes", "created", "revoked", "name"),
        [
            (
                row.id,
                printable(row.tenant),
                ",".join(row.scopes),
                _day(row.created_at),
                "" if row.revoked_at is None else _day(row.revoked_at),
                printable(row.name),
            )
            for row in rows
        ],
    )


@cli.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The middle part of the key.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key; a running gateway follows within a minute."""
    _with_ring(settings_from(config, data), lambda ring: ring.revoke(key_id))
    typer.echo(json.dumps({"revoked": key_id}) if as_json else f"revoked {key_id}")


def _with_ring(settings: Settings, work: Callable[[KeyRing], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = open_engine(database_url(settings))
        try:
            with boundary():
                await schema.prepare(engine)
            secret = server_secret(Path(settings.data) / "secret")
            return await work(KeyRing(engine, secret, clock=time.time))
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _to_json(row: KeyRow) -> dict[str, Any]:
    return dataclasses.asdict(row)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
