"""`verivote version`: what is running."""

from __future__ import annotations

import json
import platform
from typing import Annotated

import typer

from app import __version__

cli = typer.Typer(add_completion=False, rich_markup_mode=None)


@cli.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the version."""
    if as_json:
        found = {"verivote": __version__, "python": platform.python_version()}
        typer.echo(json.dumps(found))
    else:
        typer.echo(f"verivote {__version__}")
