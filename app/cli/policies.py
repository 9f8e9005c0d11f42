"""`verivote policies`: which versions of the model there are, and which one serves."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import typer

from app.cli.database import with_database
from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.cli.tables import print_table, printable
from app.store.policies import PolicyTable

cli = typer.Typer(add_completion=False, rich_markup_mode=None)


@cli.command()
def policies(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List the policies, newest first, and which one serves."""
    settings = settings_from(config, data)
    rows = with_database(settings, lambda engine: PolicyTable(engine).list())
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    print_table(
        ("policy", "status", "since", "parent", "engine", "files"),
        [
            (
                printable(row.name),
                row.status,
                _time(row.changed_at or row.created_at),
                printable(row.incumbent),
                printable(row.engine),
                printable(row.path or "-"),
            )
            for row in rows
        ],
    )
    if not rows:
        typer.echo("no policy was trained yet: the base model serves", err=True)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
