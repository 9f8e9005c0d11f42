"""Tables for a terminal, and the same rows as tab-separated lines for a pipe."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def printable(text: str) -> str:
    """One line without control characters: a text of a model must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, headed: bool = False
) -> None:
    """Cells must be printable already. `headed`: a pipe gets the headings too, because the rows
    are numbers that nobody could tell apart without."""
    console = Console()
    if not console.is_terminal:
        for row in (headings, *rows) if headed else rows:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        is_id = heading in ("id", "trace")
        table.add_column(heading, no_wrap=is_id, overflow="ellipsis" if not is_id else "fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
