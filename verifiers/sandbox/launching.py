"""How a sandboxed process is started: by itself, or in something that walls it in further."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol


class Launcher(Protocol):
    """Starts `child.py`, which locks itself down in any case."""

    own_files: bool
    """Whether the process gets a file tree of its own, with the interpreter's library and nothing
    else: then Landlock is a second wall and may be missing."""

    def command(self, program: Sequence[str]) -> list[str]:
        """What is executed so that the program runs; descriptors that are passed on stay open."""
        ...

    def parent(self) -> int:
        """Process id of the program's parent, as the program sees it."""
        ...

    def find_fault(self) -> str:
        """Why nothing can be started this way; empty when it can. May take a second."""
        ...


class Plain:
    """A child of this process."""

    own_files = False

    def command(self, program: Sequence[str]) -> list[str]:
        return list(program)

    def parent(self) -> int:
        return os.getpid()

    def find_fault(self) -> str:
        return ""
