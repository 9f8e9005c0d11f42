"""`verivote drift`: is today's traffic still the traffic of before?"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.database import require_database
from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.cli.tables import printable
from app.retrain.drift import describe_drift
from app.retrain.moving import BEFORE_DAYS, DAYS, MOST_DAYS, Moving, Part, compare, windows
from app.settings import Settings
from app.store.database import database_url

cli = typer.Typer(add_completion=False, rich_markup_mode=None)


@cli.command()
def drift(
    days: Annotated[
        int, typer.Option(min=1, max=MOST_DAYS, help="Days up to now that are looked at.")
    ] = DAYS,
    before: Annotated[
        int, typer.Option(min=1, max=MOST_DAYS, help="Days before those, to compare with.")
    ] = BEFORE_DAYS,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="Traffic of this engine only. [default: all]")
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the traffic of the last days with that of the days before.

    It says which lengths, tasks, rewards and verdicts have moved beyond chance and far enough to
    matter. That the traffic is another one does not mean that answers got worse.
    """
    settings = settings_from(config, data)
    moving = asyncio.run(_compare(settings, days, before, engine))
    if as_json:
        typer.echo(json.dumps(moving.to_json()))
        return
    typer.echo(f"{_said(moving.after)} against {_said(moving.before)}")
    typer.echo("\n".join(map(printable, describe_drift(moving.report).splitlines())))


async def _compare(settings: Settings, days: int, before: int, engine: str) -> Moving:
    await require_database(settings)
    old, new = windows(time.time(), days, before)
    return await compare(database_url(settings), old, new, engine=engine)


def _said(part: Part) -> str:
    since, until = (datetime.fromtimestamp(at, UTC) for at in (part.since, part.until))
    some = "" if part.read == part.groups else f", {part.read:,} of them read"
    return f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC ({part.groups:,} groups{some})"
