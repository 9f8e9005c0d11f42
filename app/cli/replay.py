"""`verivote replay`: what a stop rule answers on recorded samples, and what it costs.

The production tally, stop, decision and confidence code runs over samples of the form that
`app/replay/rows.py` describes; nothing is asked of any model. Table on standard output, progress on
standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TextIO, TypeVar, get_args

import typer

from app.cli.tables import print_table, printable
from app.errors import ConfigError
from app.plan import ScorerName
from app.replay.play import Played, Setting
from app.replay.processes import processes
from app.replay.replay import Job, Run, compare, replay_all, summarise
from app.replay.report import AGAINST, HEADINGS, mean_row, table_row, to_json
from app.replay.report import plot as draw
from app.replay.rows import read_recordings
from app.task import RuleName

HELP = """Replay recorded samples through the vote: accuracy, samples, rounds, tokens, calibration.

DIR is a folder with samples_*.jsonl[.gz], or such a file. A row is one question of one model:
{"dataset", "model", "id", "samples": [{"answer", "correct", "tokens"?, "chars"?, "m"?, "score"?,
"verified"?}]}. `answer` is canonical; null costs a sample and does not vote. An `m` that begins
with "pot" marks a program, any other a text. `score` is a judge's, in logits.

`verified` counts as a decisive verifier where it tells answers apart. In a group in which every
sample with an answer is marked, it says only that something ran, and is ignored.

Samples are those that ended; "cancelled" (in the JSON) were in flight when the vote was settled.
Intervals are 95 %, bootstrapped over questions. `ece` (10 bins of equal width) and `brier` judge
the confidence, fitted on one half of the questions and asked about the other, both ways; they are
null where a half has fewer than 100 questions, because there would be no confidence either.
"""

cli = typer.Typer(add_completion=False, rich_markup_mode=None)


@cli.command(help=HELP)
def replay(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR…", help="Folders or files of recorded samples.")
    ],
    rule: Annotated[
        str, typer.Option(metavar="NAME", help=f"Stop rule: {', '.join(get_args(RuleName))}.")
    ] = "margin",
    cap: Annotated[
        int | None,
        typer.Option(min=1, help="Samples a question at most. Default: 40, or what was recorded."),
    ] = None,
    orders: Annotated[
        int, typer.Option(min=1, max=1000, help="Random orders of each question's samples.")
    ] = 10,
    seed: Annotated[int, typer.Option(help="Equal seeds give every rule equal orders.")] = 0,
    scorer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Weigh votes by length, logprob or verifiers, where it earned that on the other "
            "half of the questions.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="Compare with this rule, paired over questions."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes. Default: one a processor.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="SVG", help="Draw how reliable the confidences are."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the numbers as JSON.")
    ] = None,
) -> None:
    """The command; its help is `HELP`."""
    plain = Setting(rule=_rule(rule, "--rule"), cap=cap, orders=orders, seed=seed)
    ours = replace(plain, scorer=_scorer(scorer))
    settings = [ours]
    if against is not None:
        settings.append(replace(plain, rule=_rule(against, "--against")))
    recordings = read_recordings(paths)
    if not recordings:
        raise ConfigError("the files named hold no rows")
    with contextlib.ExitStack() as files:
        drawing, written = (_opened(path, files) for path in (plot, out))
        with _workers(jobs or len(os.sched_getaffinity(0))) as run:
            replayed = replay_all(recordings, settings, run)
        summaries = [summarise(each) for each in replayed[0]]
        differences, pooled = [], None
        if against is not None:
            pairs = zip(*replayed, strict=True)
            differences = [compare([a], [b]) for a, b in pairs]
            pooled = compare(replayed[0], replayed[1])
        if written is not None:
            found = to_json(
                ours, summaries, against=against, differences=differences, pooled=pooled
            )
            written.write(json.dumps(found, indent=1) + "\n")
        if drawing is not None:
            drawing.write(draw(summaries))
    rows = [
        table_row(summary, differences[number] if differences else None)
        for number, summary in enumerate(summaries)
    ]
    if len(rows) > 1:
        rows.append(mean_row(summaries, pooled))
    print_table(
        HEADINGS + (AGAINST if against else ()),
        [[printable(c) for c in row] for row in rows],
        headed=True,
    )


def _rule(name: str, option: str) -> RuleName:
    known: tuple[RuleName, ...] = get_args(RuleName)
    return _one_of(known, name, option)


def _scorer(name: str | None) -> ScorerName | None:
    known: tuple[ScorerName, ...] = get_args(ScorerName)
    return None if name is None else _one_of(known, name, "--scorer")


Name = TypeVar("Name", bound=str)


def _one_of(known: Sequence[Name], name: str, option: str) -> Name:
    for each in known:
        if each == name:
            return each
    raise ConfigError(f"{option} is '{name}'; known: {', '.join(known)}")


def _opened(path: Path | None, files: contextlib.ExitStack) -> TextIO | None:
    """Before anything is played: nobody waits for numbers that have no place."""
    try:
        return None if path is None else files.enter_context(path.open("w", encoding="utf-8"))
    except OSError as refused:
        raise ConfigError(f"'{path}' cannot be written: {refused.strerror}") from None


@contextlib.contextmanager
def _workers(count: int) -> Iterator[Run]:
    """Jobs run in `count` processes, with a bar on standard error where somebody looks at it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with (
        processes(count) as run,
        Progress(console=console, disable=not console.is_terminal, transient=True) as bar,
    ):

        def watched(jobs: Sequence[Job]) -> Iterator[list[tuple[Played, ...]]]:
            task = bar.add_task("replaying", total=len(jobs))
            for result in run(jobs):
                bar.advance(task)
                yield result

        yield watched
