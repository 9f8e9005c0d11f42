"""`verivote route`: what the router has learned, why it decides as it does, and the nightly fit.

It works beside running gateways, which take up a new version within `routing.learn_every_s`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.parse import Arrival, parse_chat
from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.cli.tables import print_table, printable
from app.errors import NotFound, RequestError, StoreError
from app.learning import SETTLE_EXTRA_S
from app.main import make_routes
from app.plan import Plan
from app.refit import Refit, model_of, refit, use_version
from app.routing.explain import Explanation, LearnedView, Part, explain_difficulty
from app.routing.features import read_features
from app.routing.model import DifficultyModel
from app.routing.plan import make_plan, route_name_of
from app.routing.routes import MatchedRoute, match_route, with_route
from app.scoring import check_of, refs_of, route_specs, wanted_specs
from app.settings import Settings
from app.store import schema
from app.store.database import boundary, database_url, open_engine
from app.store.labelled import LabelledLog
from app.store.learned import LearnedStates
from app.task import Task
from verifiers.base import AnswerContract, BadCheck
from verifiers.extract import guess_contract
from verifiers.plugins import installed_plugins
from verifiers.run import Panel, Runner

cli = typer.Typer(
    help="Show what the router has learned, explain it, fit it and swap it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

T = TypeVar("T")


@cli.command()
def explain(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The last user message.")],
    system: Annotated[str, typer.Option(help="The system prompt.")] = "",
    model: Annotated[str, typer.Option(help="As a client would write it.")] = "auto",
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Metadata, repeatable.")
    ] = None,
    verify: Annotated[
        str, typer.Option(metavar="JSON", help="The request's `verify` object.")
    ] = "{}",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how a prompt would be answered, and why. Nothing is sent to a model."""
    settings = settings_from(config, data)
    task = _task(prompt, system, model, metadata or [], verify, settings)
    route = match_route(task, make_routes(settings))
    task = with_route(task, route)
    learned = asyncio.run(_load_model(settings, route_name_of(route)))
    panel, contract, no_programs = asyncio.run(_prepare(task, route, settings))
    policy = _policy(task, route, learned, settings)
    plan = make_plan(
        task,
        contract=contract,
        verifiers=refs_of(panel),
        policy=policy,
        defaults=settings.defaults,
        route=route,
        no_programs=no_programs,
        learned=learned,
    )
    features = read_features(
        task.prompt(),
        contract,
        verifiers=len(plan.verifiers),
        decisive=any(ref.decisive for ref in plan.verifiers),
        system=task.system(),
        tenant=task.tenant,
    )
    told = explain_difficulty(task.prompt(), features, learned, policy)
    if as_json:
        typer.echo(json.dumps(_explained_json(plan, told)))
    else:
        _print_explained(plan, told)


@cli.command()
def ls(
    route: Annotated[str, typer.Option(help="List the versions of this route.")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what each route has learned, or the versions that are kept of one route."""
    settings = settings_from(config, data)
    rows = _with_engine(settings, lambda engine: _versions(engine, route, settings))
    if route and not rows:
        raise NotFound(f"route '{printable(route)}' has learned nothing yet")
    if as_json:
        typer.echo(json.dumps(rows))
        return
    print_table(
        tuple(name.replace("_", " ") for name in rows[0]) if rows else (),
        [tuple(_cell(name, value) for name, value in row.items()) for row in rows],
    )
    if not rows:
        typer.echo("no route has learned anything yet", err=True)


@cli.command()
def use(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="Name of a route.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", help="As `route ls` lists it.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to an earlier version. It becomes the newest and learns on from now."""
    settings = settings_from(config, data)
    saved = _with_engine(
        settings,
        lambda engine: use_version(LearnedStates(engine), route, version, now=time.time()),
    )
    told = {"route": saved.route, "used": version, "version": saved.version}
    if as_json:
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"route {printable(saved.route)}: version {version} is now {saved.version}")


@cli.command()
def fit(
    route: Annotated[str, typer.Option(help="Only this route.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Fit and report, keep nothing.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn the log anew, with late labels in their place, and fit trees. Meant for the night."""
    settings = settings_from(config, data)
    done = _with_engine(
        settings,
        lambda engine: refit(
            LabelledLog(engine),
            LearnedStates(engine),
            now=time.time(),
            settle_s=settings.defaults.deadline_ms / 1000 + SETTLE_EXTRA_S,
            max_loss=settings.routing.max_loss,
            route=route,
            keep=not dry_run,
            tell=lambda said: typer.echo(printable(said), err=True),
        ),
    )
    rows = [_refit_row(each) for each in done]
    if route and not rows:
        raise NotFound(f"there are no labelled groups of route '{printable(route)}'")
    if as_json:
        typer.echo(json.dumps(rows))
        return
    print_table(
        ("route", "labels", "rows", "auc online", "auc trees", "trees", "standing", "version"),
        [tuple(_cell(name, value) for name, value in row.items()) for row in rows],
    )
    if not rows:
        typer.echo("there are no labelled groups yet", err=True)


def _task(
    prompt: str, system: str, model: str, metadata: list[str], verify: str, settings: Settings
) -> Task:
    """The task that a request with these would become."""
    messages = [{"role": "system", "content": system}] if system else []
    pairs = [pair.partition("=") for pair in metadata]
    if any(not sign for _, sign, _ in pairs):
        raise RequestError("--metadata is written KEY=VALUE", param="metadata")
    try:
        options = json.loads(verify)
    except ValueError:
        raise RequestError("--verify is not a JSON object", param="verify") from None
    body = {
        "model": model,
        "messages": [*messages, {"role": "user", "content": prompt}],
        "metadata": {key: value for key, _, value in pairs},
        "verify": options,
    }
    arrival = Arrival(
        trace_id="chatcmpl-00000000000000000000000000",
        request_id="explain",
        received_at=time.time(),
        tenant="local",
        secret=b"",
    )
    return parse_chat(json.dumps(body).encode(), {}, arrival, settings, {})


async def _prepare(
    task: Task, route: MatchedRoute | None, settings: Settings
) -> tuple[Panel, AnswerContract, str]:
    """The verifiers that would look, what answer they read, and why no program could be run."""
    wanted, check = settings.verifiers, check_of(task)
    runner = Runner(
        plugins=(*installed_plugins(), *wanted.plugins), workers=1, sandbox=wanted.sandbox
    )
    of_route = route_specs(task, route)
    try:
        panel = await runner.prepare(wanted_specs(task, check, of_route=of_route), check)
        panel = panel.joined(await runner.prepare_drawn(of_route, check))
        no_programs = await runner.why_no_programs() if task.options.rule == "two_kinds" else ""
    except BadCheck as bad:
        raise RequestError(bad.message, param=bad.param or None) from None
    finally:
        await runner.close()
    return panel, panel.contract or guess_contract(check.prompt, check.system), no_programs


def _policy(
    task: Task, route: MatchedRoute | None, learned: DifficultyModel | None, settings: Settings
) -> str:
    """The model that would answer, as far as it is known without asking the server."""
    wanted = route.policy if route else ""
    if wanted and (wanted == "*" or wanted not in settings.aliases):
        return wanted
    engine = settings.engines.get(settings.aliases[wanted] if wanted else task.engine)
    named = engine.model if engine else ""
    return named or (learned.policy if learned else "")


async def _load_model(settings: Settings, route: str) -> DifficultyModel | None:
    """What the route has learned; None where there is no database yet."""
    url = database_url(settings)
    with boundary():
        if await schema.check(url) != "current":
            return None
    engine = open_engine(url)
    try:
        states = LearnedStates(engine)
        newest = (await states.newest("difficulty")).get(route)
        saved = await states.get("difficulty", route, newest.version) if newest else None
    finally:
        await engine.dispose()
    return None if saved is None else model_of(saved, max_loss=settings.routing.max_loss)


async def _versions(engine: AsyncEngine, route: str, settings: Settings) -> list[dict[str, Any]]:
    states = LearnedStates(engine)
    if route:
        return [
            {"version": v.version, "created": v.created_at, "labels": v.labels}
            for v in await states.versions("difficulty", route)
        ]
    rows = []
    for name, saved in sorted((await states.latest("difficulty")).items()):
        model = model_of(saved, max_loss=settings.routing.max_loss)
        rows.append(
            {
                "route": name,
                "version": saved.version,
                "created": saved.created_at,
                "labels": model.labels,
                "standing": model.standing,
                "auc": model.auc,
                "one_sample": model.ladder.share,
                "one_if_checked": model.ladder_decisive.share,
                "trees": model.predictor.trees is not None,
                "policy": model.policy,
            }
        )
    return rows


def _refit_row(done: Refit) -> dict[str, Any]:
    return {
        "route": done.route,
        "labels": done.model.labels,
        "rows": done.fitted.rows,
        "auc_online": done.fitted.auc_online,
        "auc_trees": done.fitted.auc_trees,
        "trees": done.fitted.kept,
        "standing": done.model.standing,
        "version": done.saved.version if done.saved else None,
    }


def _with_engine(settings: Settings, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        url = database_url(settings)
        with boundary():
            state = await schema.check(url)
        if state == "empty":
            raise StoreError("there are no traces yet: `verivote serve` makes the database")
        if state == "behind":
            raise StoreError("the database has an older schema: run `verivote db upgrade`")
        engine = open_engine(url)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _explained_json(plan: Plan, told: Explanation) -> Mapping[str, Any]:
    return {
        "plan": {
            "route": plan.route,
            "route_name": plan.route_name,
            "difficulty": plan.difficulty,
            "threshold": plan.threshold,
            "rule": plan.rule,
            "first_round": plan.first_round,
            "cap": plan.cap,
            "margin": plan.margin,
            "explored": plan.explored,
            "policy": plan.policy,
            "answer_kind": plan.contract.kind,
            "verifiers": [ref.name for ref in plan.verifiers],
            "reasons": [dataclasses.asdict(reason) for reason in plan.reasons],
        },
        **dataclasses.asdict(told),
    }


def _print_explained(plan: Plan, told: Explanation) -> None:
    sign = "≥" if plan.difficulty >= plan.threshold else "<"
    names = ", ".join(ref.name for ref in plan.verifiers) or "none"
    facts = [
        ("plan", f"{plan.route}: {_samples(plan)}, stop rule {plan.rule}"),
        ("difficulty", f"{plan.difficulty:.2f} {sign} {plan.threshold:.2f}"),
        ("route", plan.route_name),
        ("answer", plan.contract.kind),
        ("verifiers", names),
        ("learned", _learned_line(told)),
    ]
    for name, value in facts:
        typer.echo(f"{name:<11} {printable(value)}")
    told_why = ", ".join(
        f"{r.feature.replace('_', ' ')}: {r.value}" for r in plan.reasons if not r.contribution
    )
    if told_why:
        typer.echo(f"{'because':<11} {printable(told_why)}")
    by_hand = [Part(name=r.feature, contribution=r.contribution) for r in told.by_hand_reasons]
    _print_parts(f"by hand: {told.by_hand:.2f}, hard from {told.threshold:.2f}", by_hand)
    if told.learned is not None:
        learned = told.learned
        _print_parts(_learned_heading(learned), learned.parts)
        _print_parts("words", learned.words)


def _learned_heading(learned: LearnedView) -> str:
    lower = f"harder than {learned.rank:.0%} of the newest tasks"
    sent = f"below {learned.share:.0%} is easy" if learned.share else "none is sent to one sample"
    return f"learned: {learned.score:.3f}, {lower}; {sent}"


def _samples(plan: Plan) -> str:
    first = "1 sample" if plan.first_round == 1 else f"{plan.first_round} samples"
    return first if plan.cap == plan.first_round else f"{first} at first, {plan.cap} at most"


def _learned_line(told: Explanation) -> str:
    learned = told.learned
    if learned is None:
        return "nothing yet"
    auc = "" if learned.auc is None else f", AUC {learned.auc:.2f}"
    gain = "" if learned.expected_gain is None else f", expected gain {learned.expected_gain:.3f}"
    return f"{learned.standing}, version {learned.version} from {learned.labels} labels{auc}{gain}"


def _print_parts(heading: str, parts: Any) -> None:
    typer.echo(f"\n{heading}")
    for part in parts:
        typer.echo(f"  {part.contribution:+8.3f}  {printable(part.name)}")


def _cell(name: str, value: Any) -> str:
    if name == "created":
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None else printable(str(value))
