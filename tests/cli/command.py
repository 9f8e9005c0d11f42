"""The command as a person runs it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts import ROOT

COMMAND = (sys.executable, "-c", "from app.cli import main; main()")


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would name an engine, plus `changes`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VERIVOTE__", "OPENAI_"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


def verivote(
    *arguments: str, cwd: Path | None = None, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run to the end; standard output and error as text."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
    )


@contextmanager
def serving(
    *arguments: str, cwd: Path | None = None, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`verivote serve …` with its process and the one line it printed; killed if still running."""
    process = subprocess.Popen(
        [*COMMAND, "serve", *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"serve printed nothing; {process.communicate()[1]}")
        yield process, line
    finally:
        process.kill()
        process.communicate()
