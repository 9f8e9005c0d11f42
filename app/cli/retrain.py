"""`verivote retrain`: run a night, see how nights went, promote a policy and take it back.

Nights are rows of the database, so commands, gateways and cron jobs never run one twice. Running
gateways follow a promotion or a rollback within a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from app.api.nights import to_night
from app.cli import FAILED, UNAVAILABLE
from app.cli.database import require_database, with_database
from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.cli.serve import engine_flags, with_sdk_engine
from app.cli.tables import print_table, printable
from app.errors import ConfigError, StoreError, VerivoteError
from app.main import bare_rim, night_parts
from app.retrain.night import check_objective, claim_night, plan_night, today, work_night
from app.retrain.promotion import promote as promote_policy
from app.retrain.promotion import roll_back
from app.retrain.schedule import next_time
from app.retrain.select import Selection, describe
from app.settings import RetrainSettings, Settings
from app.store.database import database_url, open_engine
from app.store.nights import NightRow, Nights
from app.store.policies import Policy, PolicyTable

cli = typer.Typer(
    help="Run a night, see how nights went, promote a policy and take it back.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

ASK_EVERY_S = 2.0
SHOWN = 10

NEEDS_GATEWAY = (
    "engines.{name} is a vLLM that the gateway runs, and it has the card: let the gateway run the "
    "night with `verivote retrain run --gateway URL`"
)


@cli.command()
def run(
    objective: Annotated[
        str, typer.Option(metavar="NAME", help="How to learn, instead of retrain.objective.")
    ] = "",
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The night of which day. [default: today, UTC]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be used and why the rest would not.")
    ] = False,
    once: Annotated[
        bool,
        typer.Option("--once", help="For cron jobs: leave a night alone that was begun before."),
    ] = False,
    gate_file: Annotated[
        Path | None,
        typer.Option("--gate-file", metavar="FILE", help="Held-out prompts as JSON Lines."),
    ] = None,
    gateway: Annotated[
        str,
        typer.Option(metavar="URL", help="Let this gateway run it; the key is VERIVOTE_API_KEY."),
    ] = "",
    upstream: Annotated[
        str | None,
        typer.Option("--upstream", metavar="URL", help="Model server, up to /v1, as of `serve`."),
    ] = None,
    upstream_model: Annotated[
        str | None, typer.Option("--upstream-model", metavar="NAME", help="Its base model.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one night to its end: choose, train, compare, promote or refuse.

    A night that failed, was skipped or lost its process is gone on with; one that ended is shown.
    """
    wanted_day = day.date() if day is not None else None
    if gateway:
        _finish(_ask_gateway(gateway, objective, wanted_day), as_json)
        return
    flags = engine_flags(upstream, upstream_model, False, os.environ)
    if gate_file is not None:
        flags["retrain"] = {"gate": {"file": str(gate_file)}}
    settings = with_sdk_engine(settings_from(config, data, flags), os.environ)
    retrain = _with_objective(settings.retrain, objective)
    check_objective(retrain)
    wanted_day = wanted_day or today(time.time())
    if dry_run:
        selection = asyncio.run(_plan(settings, retrain, wanted_day))
        typer.echo(json.dumps(selection.to_json()) if as_json else describe(selection))
        return
    _must_be_reachable(settings)
    night = asyncio.run(_run(settings, retrain, wanted_day, again=not once))
    _finish(to_night(night), as_json)


@cli.command()
def status(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Say who serves, what runs, when the next night begins and how the last ones ended."""
    settings = settings_from(config, data)

    async def read(engine: Any) -> tuple[tuple[NightRow, ...], tuple[Policy, ...]]:
        return await Nights(engine).list(limit=SHOWN), await PolicyTable(engine).list()

    nights, policies = with_database(settings, read)
    now = time.time()
    by_engine = _serving(policies, settings.retrain.engine)
    rows = [{**to_night(night), "alive": night.is_alive(now)} for night in nights]
    if as_json:
        begins = _iso(next_time(now, settings.retrain.schedule))
        told = {"schedule": settings.retrain.schedule, "next": begins}
        typer.echo(json.dumps({**told, "serving": by_engine, "nights": rows}))
        return
    for engine, serving in by_engine.items():
        canary = f"; {serving['canary']} tries a share" if serving["canary"] else ""
        typer.echo(f"{engine}: {serving['active'] or 'the base model'} serves{canary}")
    typer.echo(_schedule_line(settings.retrain.schedule, now))
    print_table(
        ("night", "status", "policy", "objective", "why"),
        [
            (
                night["id"],
                night["phase"] or night["status"] if night["alive"] else _state(night),
                printable(night["policy"]),
                printable(night["objective"]),
                printable(night["reason"]),
            )
            for night in rows
        ],
    )


@cli.command()
def promote(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="As `policies` lists it.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a policy serve that was not refused. Gateways follow within a second."""
    settings = settings_from(config, data)
    served = with_database(
        settings,
        lambda engine: promote_policy(PolicyTable(engine), Nights(engine), policy, now=time.time()),
    )
    told = {"engine": served.engine, "active": served.name}
    typer.echo(json.dumps(told) if as_json else f"{served.name} serves on {served.engine}")


@cli.command()
def rollback(
    engine: Annotated[str, typer.Option(help="On which engine. [default: retrain.engine]")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what serves: the canary, else the active policy. Its parent serves again."""
    settings = settings_from(config, data)
    wanted = engine or settings.retrain.engine
    gone, serves = with_database(
        settings,
        lambda database: roll_back(
            PolicyTable(database), Nights(database), wanted, now=time.time()
        ),
    )
    now = serves.name if serves else None
    if as_json:
        typer.echo(json.dumps({"engine": wanted, "rolled_back": gone.name, "active": now}))
    else:
        typer.echo(f"{gone.name} was taken back; {now or 'the base model'} serves on {wanted}")


@cli.command()
def schedule(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Say when nights begin. Gateways begin them; `run --once` does the same for cron jobs."""
    retrain = settings_from(config, data).retrain
    now = time.time()
    if as_json:
        begins = _iso(next_time(now, retrain.schedule))
        typer.echo(json.dumps({"schedule": retrain.schedule, "next": begins}))
    else:
        typer.echo(_schedule_line(retrain.schedule, now))


async def _plan(settings: Settings, retrain: RetrainSettings, day: date) -> Selection:
    await require_database(settings)
    database = open_engine(database_url(settings))
    try:
        async with bare_rim(settings) as rim:
            return await plan_night(night_parts(rim, database), retrain, day)
    finally:
        await database.dispose()


async def _run(settings: Settings, retrain: RetrainSettings, day: date, *, again: bool) -> NightRow:
    await require_database(settings)
    database = open_engine(database_url(settings))
    try:
        async with bare_rim(settings) as rim:
            parts = night_parts(
                rim, database, goes_on=False, tell=lambda text: typer.echo(text, err=True)
            )
            claim = await claim_night(parts, retrain, day, again=again)
            if not claim.won:
                typer.echo(f"night {claim.night.id} was begun before", err=True)
                return claim.night
            return await work_night(claim.night, parts)
    finally:
        await database.dispose()


def _with_objective(settings: RetrainSettings, objective: str) -> RetrainSettings:
    if not objective or objective == settings.objective:
        return settings
    # The options are those of the other objective.
    return settings.model_copy(update={"objective": objective, "objective_options": {}})


def _must_be_reachable(settings: Settings) -> None:
    name = settings.retrain.engine
    engine = settings.engines.get(name)
    if engine is None:
        known = ", ".join(sorted(settings.engines))
        raise ConfigError(f"retrain.engine names engine '{name}'; known: {known}")
    if engine.kind == "vllm":
        raise ConfigError(NEEDS_GATEWAY.format(name=name))


def _ask_gateway(url: str, objective: str, day: date | None) -> Mapping[str, Any]:
    """Have a gateway run it and wait for its end. Raises `VerivoteError` with what it said."""
    key = os.environ.get("VERIVOTE_API_KEY", "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    wanted = {"objective": objective or None, "day": day.isoformat() if day else None}
    base = url.rstrip("/").removesuffix("/v1")
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=30) as client:
            night = _reply(client.post("/v1/admin/retrain", json=wanted))
            said = ""
            while night["status"] == "running":
                if night["phase"] != said:
                    said = night["phase"]
                    typer.echo(said, err=True)
                time.sleep(ASK_EVERY_S)
                night = _reply(client.get(f"/v1/admin/retrain/{night['id']}"))
    except httpx.HTTPError as away:
        raise StoreError(f"the gateway at {base} does not answer: {away}") from None
    return {name: value for name, value in night.items() if name != "report"}


def _reply(reply: httpx.Response) -> dict[str, Any]:
    said: dict[str, Any] = reply.json()
    if reply.is_error:
        raise VerivoteError(said["error"]["message"], status=reply.status_code)
    return said


def _finish(night: Mapping[str, Any], as_json: bool) -> None:
    """Print a night; exit code 1 when it failed, 3 when it runs elsewhere."""
    if as_json:
        typer.echo(json.dumps(night))
    else:
        why = f": {printable(night['reason'])}" if night["reason"] else ""
        typer.echo(f"night {night['id']} ({night['policy']}): {night['status']}{why}")
    if night["status"] == "failed":
        raise typer.Exit(FAILED)
    if night["status"] == "running":
        raise typer.Exit(UNAVAILABLE)


def _serving(policies: tuple[Policy, ...], engine: str) -> dict[str, dict[str, str | None]]:
    engines = sorted({engine, *(policy.engine for policy in policies)})
    return {
        name: {
            status: next(
                (p.name for p in policies if p.engine == name and p.status == status), None
            )
            for status in ("active", "canary")
        }
        for name in engines
    }


def _state(night: Mapping[str, Any]) -> str:
    return "interrupted" if night["status"] == "running" else str(night["status"])


def _schedule_line(schedule: str, now: float) -> str:
    begins = next_time(now, schedule)
    if begins is None:
        return "retrain.schedule is off: nights begin when they are asked for"
    return f"nights begin at {schedule} UTC, the next one on {begins:%Y-%m-%d}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
