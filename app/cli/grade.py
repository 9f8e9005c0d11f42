"""`verivote grade`: run verifiers over rows of a file, one JSON object a line.

In: `{"id", "prompt"?, "completion", "verifiers": [{"use": …, …options}]}`. Out, in the same order:
`{"id", "status", "score", "reward", "answer", "reason", "ms"}`, composed over the row's verifiers.
A row that cannot be read or prepared is an `error`, and the next one is graded. No gateway runs and
nothing is stored; a judge needs an engine in the settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import typer

from app.cli.options import ConfigOption, settings_from
from app.engines.base import Engine
from app.errors import ConfigError
from app.settings import Settings
from verifiers.base import BadCheck, Candidate, Check, Status, Verdict, VerifierSpec
from verifiers.compose import graded_role, is_refuted
from verifiers.extract import guess_contract
from verifiers.run import Judged, Panel, Runner

MAX_LINE_BYTES = 64 * 2**20
MAX_VERIFIERS = 64
STDIN = Path("-")

cli = typer.Typer(add_completion=False, rich_markup_mode=None)


@cli.command()
def grade(
    rows: Annotated[
        Path, typer.Argument(metavar="IN.jsonl", help="Rows to grade; `-` reads them.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="OUT.jsonl", help="Default: standard output.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=64, help="Workers. Default: one a processor.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Grade completions: a row a line in, a verdict a line out, in the same order."""
    settings = settings_from(config, None)
    if out is not None and out.exists() and rows != STDIN and rows.exists() and out.samefile(rows):
        raise ConfigError("--out names the file that is read; choose another")
    count = jobs or len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as files:
        try:
            source: BinaryIO = (
                sys.stdin.buffer if rows == STDIN else files.enter_context(rows.open("rb"))
            )
        except OSError as missing:
            raise ConfigError(f"'{rows}' cannot be read: {missing.strerror}") from None
        try:
            target: TextIO = (
                sys.stdout
                if out is None
                else files.enter_context(out.open("w", encoding="utf-8", newline="\n"))
            )
        except OSError as refused:
            raise ConfigError(f"'{out}' cannot be written: {refused.strerror}") from None
        asyncio.run(_grade_all(settings, source, target, jobs=count))


async def _grade_all(settings: Settings, source: BinaryIO, target: TextIO, *, jobs: int) -> None:
    """Read, grade and write as it goes: rows wait for their turn, not in memory."""
    begun = time.perf_counter()
    statuses: Counter[str] = Counter()
    async with _runner(settings, jobs) as runner:
        with _progress(_size_of(source)) as advance:
            async for row, size in _graded(_lines(source), runner, ahead=4 * jobs):
                target.write(json.dumps(row) + "\n")
                statuses[row["status"]] += 1
                advance(size)
    target.flush()
    told = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "none"
    took = time.perf_counter() - begun
    typer.echo(f"{statuses.total()} rows in {took:.1f} s: {told}", err=True)


@contextlib.asynccontextmanager
async def _runner(settings: Settings, jobs: int) -> AsyncIterator[Runner]:
    """The runner of the settings with `jobs` workers, and the engine that judges ask."""
    wanted = settings.verifiers
    async with contextlib.AsyncExitStack() as closing:
        ask = None
        if wanted.judge_engine:
            from app.main import make_engine

            if wanted.judge_engine not in settings.engines:
                raise ConfigError(f"engines.{wanted.judge_engine} is missing; judges ask it")
            name = wanted.judge_engine
            engine = make_engine(name, settings.engines[name], settings.data)
            closing.push_async_callback(engine.close)
            await engine.start()
            await _until_started(engine)
            ask = engine.ask
        runner = Runner(
            deadline_ms=wanted.deadline_ms,
            workers=jobs,
            sandbox=wanted.sandbox,
            ask=ask,
            ask_deadline_ms=wanted.judge_deadline_ms,
            min_covered=wanted.min_covered_weight,
        )
        await runner.start()
        closing.push_async_callback(runner.close)
        yield runner


async def _until_started(engine: Engine) -> None:
    """Nobody else is served meanwhile, so the rows wait until a server of ours has its model."""
    while (now := engine.server_state()) is not None and now.state == "starting":  # noqa: ASYNC110
        await asyncio.sleep(0.2)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """The lines that are not blank; one that is too long is cut, and so no JSON."""
    while line := source.readline(MAX_LINE_BYTES):
        if not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES:
            while (rest := source.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        if line.strip():
            yield line


async def _graded(
    lines: Iterator[bytes], runner: Runner, *, ahead: int
) -> AsyncIterator[tuple[dict[str, Any], int]]:
    """Every row with the bytes that it came in, in order; at most `ahead` are in work."""
    waiting: deque[tuple[asyncio.Task[dict[str, Any]], int]] = deque()
    try:
        for line in lines:
            waiting.append((asyncio.create_task(_grade_line(line, runner)), len(line)))
            if len(waiting) >= ahead:
                task, size = waiting.popleft()
                yield await task, size
        while waiting:
            task, size = waiting.popleft()
            yield await task, size
    finally:
        for task, _ in waiting:
            task.cancel()


async def _grade_line(line: bytes, runner: Runner) -> dict[str, Any]:
    """One row of the output. Never raises for what is in the line."""
    row: Any = None
    try:
        row = json.loads(line.decode("utf-8"))
        candidate, check, specs = _read_row(row)
        panel = await runner.prepare(specs, check)
        contract = panel.contract or guess_contract(check.prompt, check.system)
        judged = await runner.judge(panel, contract, candidate)
    except BadCheck as bad:
        place = f"{bad.param}: " if bad.param else ""
        return _error_row(row, f"bad_verifier: {place}{bad.message}"[:300])
    except (ValueError, RecursionError) as broken:
        return _error_row(row, f"bad_row: {str(broken)[:200] or 'nested too deeply'}")
    except Exception as raised:
        return _error_row(row, f"failed: {type(raised).__name__}")
    return _row_of(row.get("id"), panel, judged)


def _read_row(row: Any) -> tuple[Candidate, Check, tuple[VerifierSpec, ...]]:
    """Raises `ValueError` that says what is wrong with the row."""
    if not isinstance(row, Mapping):
        raise ValueError("a row is a JSON object")
    completion, prompt = row.get("completion"), row.get("prompt", "")
    if not isinstance(completion, str):
        raise ValueError("'completion' must be a text")
    if prompt is not None and not isinstance(prompt, str):
        raise ValueError("'prompt' must be a text")
    listed = row.get("verifiers")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_VERIFIERS:
        raise ValueError(f"'verifiers' must be a list of 1 to {MAX_VERIFIERS}")
    specs = []
    for index, written in enumerate(listed):
        if not isinstance(written, Mapping) or not isinstance(written.get("use"), str):
            raise ValueError(f"'verifiers[{index}].use' must name a verifier")
        options = {key: value for key, value in written.items() if key != "use"}
        specs.append(VerifierSpec(use=written["use"], options=options, param=f"verifiers[{index}]"))
    return Candidate(text=completion), Check(prompt=prompt or ""), tuple(specs)


def _row_of(name: Any, panel: Panel, judged: Judged) -> dict[str, Any]:
    """`ms` is work for verdicts; waiting for a worker is not counted."""
    verdicts = judged.verdicts
    status = compose_status(verdicts)
    return {
        "id": name,
        "status": status.value,
        "score": _score_of(panel, verdicts),
        "reward": judged.reward,
        "answer": judged.answer.key,
        "reason": _reason_of(status, verdicts),
        "ms": round(sum(verdict.run_ms for verdict in verdicts), 3),
    }


def compose_status(verdicts: Sequence[Verdict]) -> Status:
    """One status for a row: could not be checked, refuted, passed, or nobody's business.

    An error comes first, as it does in the reward. A judge decides only where no outcome verifier
    had a say.
    """
    role = graded_role(verdicts)
    heard = [verdict for verdict in verdicts if verdict.role != "judge" or role == "judge"]
    found = {verdict.status for verdict in heard}
    if Status.ERROR in found:
        return Status.ERROR
    if is_refuted(heard) or Status.FAIL in found:
        return Status.FAIL
    said = {verdict.status for verdict in heard if verdict.role == role}
    if any(v.role == "policy" and v.status is Status.ABSTAIN for v in heard):
        return Status.ABSTAIN
    return Status.PASS if Status.PASS in (said or found) else Status.ABSTAIN


def _score_of(panel: Panel, verdicts: Sequence[Verdict]) -> float | None:
    """The weighted mean score of what is graded, gates apart; else of whatever has a score."""
    role = graded_role(verdicts)
    scored = [
        (verdict.role, verdict.score, member.weight)
        for verdict, member in zip(verdicts, panel.members, strict=True)
        if verdict.score is not None
    ]
    graded = [each for each in scored if each[0] == role] or scored
    total = sum(weight for _, _, weight in graded)
    return sum(score * weight for _, score, weight in graded) / total if graded else None


def _reason_of(status: Status, verdicts: Sequence[Verdict]) -> str:
    """The reason of the first verdict that made the status; with its verifier where several are."""
    for verdict in sorted(verdicts, key=lambda v: v.role != graded_role(verdicts)):
        if verdict.status is status:
            one = len(verdicts) == 1
            return verdict.reason if one else f"{verdict.verifier}: {verdict.reason}"
    return ""


def _error_row(row: Any, reason: str) -> dict[str, Any]:
    name = row.get("id") if isinstance(row, Mapping) else None
    return {
        "id": name,
        "status": Status.ERROR.value,
        "score": None,
        "reward": None,
        "answer": None,
        "reason": reason,
        "ms": 0.0,
    }


def _size_of(source: BinaryIO) -> int | None:
    """Bytes of the input, where it is a file."""
    try:
        return os.fstat(source.fileno()).st_size or None
    except OSError:
        return None


@contextlib.contextmanager
def _progress(total: int | None) -> Iterator[Any]:
    """A bar on standard error, where somebody looks at it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("grading", total=total)
        yield lambda size: bar.update(task, advance=size)
