"""A fake model server in a process of its own, for commands that are processes too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.parts import ROOT


@contextmanager
def fake_upstream(mode: str) -> Iterator[str]:
    """Its address up to `/v1`. `scripted` answers 4, 5, 4, 4 in turn; `hold` never ends a reply."""
    command = [sys.executable, str(ROOT / "tests/fakes/upstream.py"), "--mode", mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
