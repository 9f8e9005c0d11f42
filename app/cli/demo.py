"""`verivote demo`: what checking is worth, measured in front of you on a small real model.

The gateway serves the embedded model; the same sample tasks are asked twice over its own HTTP
address, as one sample and as verify-and-vote. Known results only score the table: nothing that a
user would not have is sent. It measures this model on these tasks, not the gateway on yours.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app import __version__
from app.cli import FAILED, UNAVAILABLE
from app.cli.demo_tasks import FAMILIES, DemoTask, Family, make_tasks
from app.cli.doctor import look_at_folder
from app.cli.options import ConfigOption, DataOption, settings_from
from app.cli.serve import run
from app.errors import ConfigError
from verifiers.base import AnswerContract, Candidate
from verifiers.extract import extract_answer

cli = typer.Typer(add_completion=False, rich_markup_mode=None)

AT_ONCE = 4
"""Requests in flight."""
TEMPERATURE = 0.7
MAX_TOKENS = 48
REPLY_WITHIN_S = 120.0
MIN_FREE_BYTES = 32 * 2**20

METHODS: dict[str, Mapping[str, Any]] = {
    "single sample": {"mode": "off"},
    "verify-and-vote": {"mode": "auto", "n": 8, "cache": "off", "include": ["trace"]},
}
"""Method → the `verify` options it is asked with. The cache is off: every answer is drawn."""

NOTES = """\
arithmetic: the calculator recomputes what the prompt asks, and a sample that passes is proven right
word problem: nothing can be recomputed, so up to 8 samples vote; no answer is called verified"""


@cli.command()
def demo(
    tasks: Annotated[int, typer.Option(min=1, max=200, help="Sample tasks to ask.")] = 40,
    exit_: Annotated[
        bool, typer.Option("--exit", help="Print and end instead of serving on.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Answer sample tasks on a small real model, with and without checking."""
    server = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    engine = {"engines": {"main": {"kind": "embedded"}}, "aliases": {"auto": "main"}}
    settings = settings_from(config, data, {"server": server, **engine})
    if settings.server.keys == "required":
        raise ConfigError(
            "server.keys is 'required', and the demo asks without a key; "
            "use `verivote serve --embedded` instead"
        )
    _check_folder(settings.data)
    # At Ctrl-C the demo hangs up on its own gateway, which is no news to anybody.
    logging.getLogger("verivote.api").setLevel(logging.WARNING)
    show = Show(make_tasks(tasks), stay=not exit_)
    run(settings, show.begin)
    show.end()
    if show.failed:
        raise typer.Exit(FAILED)


def _check_folder(folder: Path) -> None:
    """Raises `Exit(3)` with a line that says what to do when the traces could not be kept."""
    found = look_at_folder(folder)
    why, fix = (found.detail, found.fix) if found.state == "missing" else ("", "")
    if not why and (free := shutil.disk_usage(folder).free) < MIN_FREE_BYTES:
        why = f"{folder} has only {free / 2**20:.1f} MiB left for traces"
        fix = "free some, or name another folder with --data DIR"
    if why:
        typer.echo(f"verivote: {why}: {fix}", err=True)
        raise typer.Exit(UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the gateway answered to one task."""

    task: DemoTask
    text: str = ""
    finish_reason: str | None = None
    verification: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    """Why there is no answer; empty when there is one."""

    @property
    def is_solved(self) -> bool:
        """True when the answer that the served text gives is the known result."""
        candidate = Candidate(text=self.text, finish_reason=self.finish_reason)
        answer = extract_answer(candidate, AnswerContract(kind="number"))
        return answer.key == str(self.task.result)

    @property
    def is_verified(self) -> bool:
        return bool(self.verification.get("status") == "verified")

    @property
    def answers(self) -> tuple[str, ...]:
        """What its samples said, each answer once, as they ended; empty without a trace."""
        scored = self.verification.get("trace", {}).get("scored", ())
        return tuple(dict.fromkeys(s["answer"]["key"] for s in scored if s["answer"]["key"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table: a family of tasks asked by one method."""

    family: Family
    method: str
    tasks: int
    solved: int
    verified: int
    samples: int
    seconds: float


def summarise(family: Family, method: str, replies: Sequence[Reply], seconds: float) -> Line:
    return Line(
        family=family,
        method=method,
        tasks=len(replies),
        solved=sum(reply.is_solved for reply in replies),
        verified=sum(reply.is_verified for reply in replies),
        samples=sum(reply.verification.get("samples", 0) for reply in replies),
        seconds=seconds,
    )


def most_instructive(replies: Sequence[Reply]) -> Reply | None:
    """The verified answer whose samples said the most different things, if any were verified."""
    verified = [reply for reply in replies if reply.is_verified]
    return max(verified, key=lambda reply: len(reply.answers), default=None)


@dataclass
class Show:
    """One run of the demo beside its own gateway."""

    tasks: Sequence[DemoTask]
    stay: bool
    """True leaves the gateway serving; False ends it when all is printed."""
    out: Console = field(default_factory=Console)
    err: Console = field(default_factory=lambda: Console(stderr=True))
    failed: bool = False
    _showing: asyncio.Task[None] | None = None

    def begin(self, url: str) -> asyncio.Task[None]:
        """Ask everything and print what came of it, beside the server that runs at `url`."""
        self._showing = asyncio.create_task(self._run(url))
        self._showing.add_done_callback(self._leave)
        return self._showing

    def end(self) -> None:
        """Call when the server has ended: raises what the show could not handle."""
        if self._showing is not None and not self._showing.cancelled():
            self._showing.result()

    def _leave(self, showing: asyncio.Task[None]) -> None:
        """End the gateway too, unless it shall stay. Ctrl-C has already ended it."""
        if not showing.cancelled() and (not self.stay or self.failed or showing.exception()):
            os.kill(os.getpid(), signal.SIGTERM)

    async def _run(self, url: str) -> None:
        self._say(
            f"verivote {__version__} serves {url}/v1 · engine: SmolLM2-135M-Instruct, "
            "a real model on this machine's processor"
        )
        lines, replies = await self._ask_all(url)
        self.print_results(url, lines, replies)

    async def _ask_all(self, url: str) -> tuple[list[Line], list[Reply]]:
        lines: list[Line] = []
        replies: list[Reply] = []
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        timeout = httpx.Timeout(REPLY_WITHIN_S)
        with Progress(*columns, console=self.err, transient=True) as progress:
            bar = progress.add_task("asking", total=len(METHODS) * len(self.tasks))
            async with httpx.AsyncClient(base_url=f"{url}/v1", timeout=timeout) as client:
                for family in FAMILIES:
                    asked = [task for task in self.tasks if task.family == family]
                    for method in METHODS if asked else ():
                        progress.update(bar, description=f"{family}: {method}")
                        began = time.perf_counter()
                        came = await ask(client, asked, method, lambda: progress.advance(bar))
                        seconds = time.perf_counter() - began
                        lines.append(summarise(family, method, came, seconds))
                        replies += came
        return lines, replies

    def print_results(self, url: str, lines: Sequence[Line], replies: Sequence[Reply]) -> None:
        self.out.print(table_of(lines))
        self._say(NOTES)
        missing = [reply for reply in replies if reply.error]
        if missing:
            self.failed = not self.stay or len(missing) == len(replies)
            self._say(f"{len(missing)} of {len(replies)} requests failed: {missing[0].error}")
        self._say(f"\nAsk it yourself:\n  {curl_line(url)}")
        self._say("Point any OpenAI client at it (any key will do):")
        self._say(f"  export OPENAI_BASE_URL={url}/v1\n  export OPENAI_API_KEY=local")
        best = most_instructive(replies)
        if best is not None:
            self._say(f"Why an answer was believed: {best.task.prompt}")
            self._say(f"its samples said {', '.join(best.answers)}; the calculator settled it:")
            self._say(f"  {url}/traces/{best.verification['trace_id']}")
        if self.stay:
            self._say("\nServing until Ctrl-C.")

    def _say(self, text: str) -> None:
        """Plain text, neither wrapped nor coloured: its lines are for copying."""
        self.out.print(text, markup=False, highlight=False, soft_wrap=True)


def table_of(lines: Sequence[Line]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("family", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("solved", "verified", "samples", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line.family,
            line.method,
            f"{line.solved} of {line.tasks}",
            str(line.verified) if line.verified else "–",
            str(line.samples),
            f"{line.seconds:.1f}",
        )
    return table


def curl_line(url: str) -> str:
    body = '{"model":"auto","messages":[{"role":"user","content":"What is 7 * 8?"}]}'
    return f"curl -s {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"


async def ask(
    client: httpx.AsyncClient,
    tasks: Sequence[DemoTask],
    method: str,
    on_reply: Callable[[], None],
) -> list[Reply]:
    """All tasks by one method, `AT_ONCE` at a time; replies in the order of the tasks."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, task: DemoTask) -> Reply:
        async with room:
            reply = await _ask_one(client, task, number, METHODS[method])
        on_reply()
        return reply

    return await asyncio.gather(*(one(number, task) for number, task in enumerate(tasks)))


async def _ask_one(
    client: httpx.AsyncClient, task: DemoTask, number: int, verify: Mapping[str, Any]
) -> Reply:
    # The same seed for both methods: the single sample is the first one of the vote.
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": task.prompt}],
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "seed": number,
        "verify": verify,
    }
    try:
        answer = await client.post("/chat/completions", json=body)
    except httpx.TransportError as lost:
        return Reply(task=task, error=f"the gateway did not answer ({type(lost).__name__})")
    told = answer.json()
    if answer.status_code != 200:
        return Reply(task=task, error=told["error"]["message"])
    choice = told["choices"][0]
    return Reply(
        task=task,
        text=choice["message"]["content"] or "",
        finish_reason=choice["finish_reason"],
        verification=told["verification"],
    )
