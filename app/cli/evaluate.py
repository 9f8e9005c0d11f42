"""`verivote evaluate`: how good is a policy on prompts that nobody trains on?

They are answered on the path of every request, as the gate of a night has them answered. Nothing is
logged. Without `--file` they are the log's own held-out prompts; `--public` takes the set that
comes with Verivote, which never changes, so its numbers can be compared over the years.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

import app.retrain
from app.cli.database import require_database
from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.cli.serve import engine_flags, with_sdk_engine
from app.cli.tables import print_table, printable
from app.errors import ConfigError, EngineUnavailable
from app.evaluate import HeldOut, evaluate, held_out_of_file, held_out_of_log
from app.main import bare_rim
from app.retrain.estimates import estimate_all
from app.retrain.evidence import Outcome
from app.rim import Rim
from app.settings import Settings
from app.store import schema
from app.store.database import boundary, database_url, open_engine
from app.store.policies import PolicyTable

cli = typer.Typer(add_completion=False, rich_markup_mode=None)

PUBLIC = Path(app.retrain.__file__).with_name("public_set.jsonl")


@cli.command(name="evaluate")
def evaluate_policy(
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="Policy or model. [default: the one that serves]")
    ] = "",
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts as JSON Lines.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="The prompts that come with Verivote.")
    ] = False,
    k: Annotated[int, typer.Option("--k", min=1, max=64, help="Samples a prompt.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same one draws the same samples.")] = 0,
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
    """Have a policy answer held-out prompts, and say how often it is right.

    Each prompt is answered with k samples and once greedily. The prompts are those of the log that
    nobody trains on, newest first, unless a file is named.
    """
    if file is not None and public:
        raise ConfigError("give --file or --public, not both")
    flags = engine_flags(upstream, upstream_model, False, os.environ)
    settings = with_sdk_engine(settings_from(config, data, flags), os.environ)
    _must_be_reachable(settings)
    told = asyncio.run(_evaluate(settings, policy, PUBLIC if public else file, k, seed))
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _print(told)


async def _evaluate(
    settings: Settings, policy: str, file: Path | None, k: int, seed: int
) -> dict[str, Any]:
    engine = settings.retrain.engine
    database = await _database(settings, is_needed=file is None)
    try:
        prompts = await _prompts(settings, database, file)
        async with bare_rim(settings) as rim:
            policy = await _ready(rim, database, policy)
            outcomes = await evaluate(rim, prompts, policy, k, seed)
    finally:
        if database is not None:
            await database.dispose()
    estimates = await asyncio.to_thread(estimate_all, outcomes, seed=seed)
    return {
        "policy": policy,
        "engine": engine,
        "prompts": len(prompts),
        "answered": len(outcomes),
        "judged": sum(outcome.pass_at_1 is not None for outcome in outcomes),
        "k": k,
        "seed": seed,
        "metrics": [dataclasses.asdict(each) for each in estimates],
        "slices": _by_slice(outcomes, seed),
    }


async def _database(settings: Settings, *, is_needed: bool) -> AsyncEngine | None:
    """None where there is none yet and the prompts are in a file."""
    if not is_needed:
        with boundary():
            if await schema.check(database_url(settings)) == "empty":
                return None
    await require_database(settings)
    return open_engine(database_url(settings))


async def _prompts(
    settings: Settings, database: AsyncEngine | None, file: Path | None
) -> tuple[HeldOut, ...]:
    """Raises `ConfigError` when there are none."""
    engine = settings.retrain.engine
    if file is not None:
        found = await asyncio.to_thread(held_out_of_file, file, engine)
        missing = f"{file} holds no prompt"
    else:
        assert database is not None
        found = await held_out_of_log(database, engine, most=settings.retrain.gate.max_prompts)
        missing = f"the log of engine '{engine}' has no held-out prompt yet; name a --file"
    if not found:
        raise ConfigError(missing)
    return found


async def _ready(rim: Rim, database: AsyncEngine | None, policy: str) -> str:
    """The name that the engine answers to, its files loaded."""
    name = rim.settings.retrain.engine
    engine = rim.engines[name]
    if not await engine.is_up():
        raise EngineUnavailable(f"engine '{name}' does not answer")
    known = await PolicyTable(database).list(name) if database is not None else ()
    if not policy:
        policy = next((p.name for p in known if p.status == "active"), "")
    row = next((p for p in known if p.name == policy), None)
    if row is not None and row.path is not None:
        await engine.load_policy(row.name, Path(row.path))
    return policy or await engine.model_for("auto")


def _must_be_reachable(settings: Settings) -> None:
    name = settings.retrain.engine
    if name not in settings.engines:
        known = ", ".join(sorted(settings.engines))
        raise ConfigError(f"retrain.engine names engine '{name}'; known: {known}")
    if settings.engines[name].kind == "vllm":
        raise ConfigError(
            f"engines.{name} is a vLLM that only its gateway can ask: name a server of your own "
            "with --upstream"
        )


def _by_slice(outcomes: tuple[Outcome, ...], seed: int) -> list[dict[str, Any]]:
    """pass@1 in each part of the prompts that a file names; of a log, in each kind of task."""
    named = any("slice" in outcome.slices for outcome in outcomes)
    dimension = "slice" if named else "task"
    values = sorted({o.slices[dimension] for o in outcomes if dimension in o.slices})
    found = []
    for value in values:
        those = [o for o in outcomes if o.slices.get(dimension) == value]
        found += [
            {dimension: value, **dataclasses.asdict(each)}
            for each in estimate_all(those, seed=seed)
            if each.metric == "pass_at_1"
        ]
    return found


def _print(told: dict[str, Any]) -> None:
    rows = [_row(each["metric"], each) for each in told["metrics"]]
    for each in told["slices"]:
        of = each.get("slice") or each.get("task")
        rows.append(_row(f"pass_at_1 of {printable(str(of))}", each))
    print_table(("metric", "mean", "95 % low", "high", "prompts"), rows)
    typer.echo(
        f"{printable(told['policy'])}: {told['judged']} of {told['prompts']} prompts were judged, "
        f"{told['k']} samples each",
        err=True,
    )


def _row(name: str, each: dict[str, Any]) -> tuple[str, ...]:
    digits = 1 if each["metric"] == "tokens" else 3
    numbers = (f"{each[key]:.{digits}f}" for key in ("mean", "low", "high"))
    return (name, *numbers, str(each["prompts"]))
