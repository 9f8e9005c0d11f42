"""`verivote db`: bring the database to this version's schema, and say where it stands."""

from __future__ import annotations

import asyncio
import json

import typer

from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.store import schema
from app.store.database import boundary, database_url

cli = typer.Typer(
    help="Bring the database to this version's schema.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@cli.command()
def upgrade(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Make the tables, or migrate them; `serve` does it too when it starts."""
    url = database_url(settings_from(config, data))

    with boundary():
        asyncio.run(schema.upgrade(url))
    revision = schema.REVISIONS[-1]
    typer.echo(json.dumps({"schema": revision}) if as_json else f"schema {revision}")


@cli.command()
def current(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Print the schema that the database has."""
    url = database_url(settings_from(config, data))
    with boundary():
        revision = asyncio.run(schema.current(url))
    typer.echo(json.dumps({"schema": revision}) if as_json else revision or "no tables yet")


@cli.command()
def check(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Say whether the database fits this version; exit code 1 when it must be upgraded."""
    url = database_url(settings_from(config, data))
    with boundary():
        state = asyncio.run(schema.check(url))
    needed = schema.REVISIONS[-1]
    if as_json:
        typer.echo(json.dumps({"state": state, "needed": needed}))
    elif state == "current":
        typer.echo(f"the database fits: schema {needed}")
    else:
        found = "has no tables yet" if state == "empty" else "has an older schema"
        typer.echo(f"the database {found}; run `verivote db upgrade`")
    if state != "current":
        raise typer.Exit(1)
