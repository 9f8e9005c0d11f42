"""`verivote trace`: list and show traces, from the database of the settings.

It reads beside a running gateway and changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.cli.tables import print_table, printable
from app.errors import NotFound
from app.group import Group, Stage
from app.sample import Scored
from app.settings import Settings
from app.store.base import Label, TraceFilter, TracePage, TraceSummary
from app.store.database import database_url
from app.store.reader import TraceReader
from app.store.rows import status_of

cli = typer.Typer(
    help="List and show traces.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Quick = Literal["split", "verifier_error", "cached", "unlabelled"]
T = TypeVar("T")


@cli.command()
def ls(
    status: Annotated[
        str | None, typer.Option(help="verified, agreed, unverified, held or failed.")
    ] = None,
    route: Annotated[str | None, typer.Option(help="off, easy or hard.")] = None,
    model: Annotated[str | None, typer.Option(help="As the client wrote it.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    quick: Annotated[Quick | None, typer.Option(help="A ready-made view.")] = None,
    search: Annotated[str | None, typer.Option(help="Part of the prompt or the id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most lines.")] = 50,
    before: Annotated[str | None, typer.Option(help="Continue after this trace id.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List traces, newest first."""
    wanted = TraceFilter(
        status=status,
        route=route,
        model=model,
        tenant=tenant,
        quick=quick,
        search=search,
        limit=limit,
        before=before,
    )

    async def read(reader: TraceReader) -> tuple[TracePage, int]:
        return await reader.list(wanted), await reader.count_waiting()

    page, waiting = _with_reader(settings_from(config, data), read)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in page.rows]))
    else:
        print_table(
            ("received", "trace", "route", "status", "votes", "answer", "ms", "prompt"),
            [_line(row) for row in page.rows],
        )
    if waiting:
        typer.echo(f"{waiting} more in the spool, not listed yet", err=True)
    if page.next_before:
        typer.echo(f"more: --before {page.next_before}", err=True)


@cli.command()
def show(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="A trace id.")],
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one trace: what was asked, what each sample said, and why the answer was believed."""

    async def read(reader: TraceReader) -> tuple[Group | None, tuple[Label, ...]]:
        return await reader.get(trace_id), await reader.labels(trace_id)

    group, labels = _with_reader(settings_from(config, data), read)
    if group is None:
        raise NotFound(f"there is no trace '{printable(trace_id)}'")
    if as_json:
        told = json.dumps([dataclasses.asdict(label) for label in labels])
        typer.echo(f'{{"group": {group.to_json().decode()}, "labels": {told}}}')
        return
    for name, value in _facts(group, labels):
        typer.echo(f"{name:<10} {value}")
    typer.echo()
    print_table(
        ("sample", "answer", "verdicts", "reward", "tokens", "ended", "text"),
        [_sample_line(group, scored) for scored in group.scored],
    )


def _with_reader(settings: Settings, work: Callable[[TraceReader], Awaitable[T]]) -> T:
    async def run() -> T:
        spool = Path(settings.data) / "spool.db"
        async with TraceReader(database_url(settings), spool) as reader:
            return await work(reader)

    return asyncio.run(run())


def _line(row: TraceSummary) -> tuple[str, ...]:
    return (
        _time(row.received_at),
        row.trace_id,
        row.route,
        row.status,
        _votes(row.votes),
        printable(row.answer or ""),
        f"{row.duration_ms:.0f}",
        printable(row.prompt_preview),
    )


def _facts(group: Group, labels: tuple[Label, ...]) -> list[tuple[str, str]]:
    plan, decision = group.plan, group.decision
    reasons = ", ".join(
        f"{r.feature} {r.contribution:+.2f}" if r.contribution else f"{r.feature}: {r.value}"
        for r in plan.reasons
    )
    facts = [
        ("trace", printable(group.trace_id)),
        ("received", _time(group.task.received_at)),
        ("status", status_of(group)),
        ("prompt", printable(group.task.prompt())),
        ("route", f"{plan.route} (difficulty {plan.difficulty:.2f}; {printable(reasons)})"),
        ("named", printable(plan.route_name)),
        *(("gave up", _stage_line(stage)) for stage in group.earlier),
        *(("unused", _stage_line(stage)) for stage in (group.unused,) if stage is not None),
        ("policy", printable(plan.policy)),
        ("votes", _votes(group.tally.votes) or "none"),
        ("stopped by", printable(decision.stop_reason) if decision else ""),
        ("took", f"{group.finished_ms:.0f} ms, {group.rounds} rounds"),
        ("error", printable(f"{group.error.code}: {group.error.message}") if group.error else ""),
        ("degraded", printable(", ".join(group.degraded))),
        ("altered", ", ".join(group.altered)),
    ]
    facts += [
        ("label", printable(" ".join((label.kind, label.correction or "", label.note or ""))))
        for label in labels
    ]
    return [(name, value) for name, value in facts if value]


def _stage_line(stage: Stage) -> str:
    votes = _votes(stage.tally.votes) or "no votes"
    decision = stage.decision
    return printable(
        f"{stage.plan.policy}: {decision.status}, {votes}, stopped by {decision.stop_reason}"
    )


def _sample_line(group: Group, scored: Scored) -> tuple[str, ...]:
    sample = scored.sample
    is_served = group.decision is not None and group.decision.winner == sample.index
    verdicts = " ".join(f"{v.verifier}:{v.status.value}" for v in scored.verdicts)
    about = [str(sample.index)]
    about += ["program"] if sample.kind == "program" else []
    about += ["fallback"] if sample.stage else []
    about += ["served"] if is_served else []
    return (
        " ".join(about),
        printable(scored.answer.text if scored.answer.key is not None else "-"),
        printable(verdicts),
        "-" if scored.reward is None else f"{scored.reward:.2f}",
        str(sample.completion_tokens),
        printable(sample.finish_reason or ("cancelled" if sample.cancelled else "cut")),
        printable(sample.text),
    )


def _votes(votes: tuple[tuple[str, int], ...]) -> str:
    return printable(", ".join(f"{key} ×{count}" for key, count in votes))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
