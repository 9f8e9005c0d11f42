"""bubblewrap around the sandboxed process: namespaces of its own, and a file tree without files.

The same child locks itself down inside, so this is a second wall: own processes, own network (with
nothing in it), own file tree with the interpreter's library and the shared libraries, read-only and
not to be listed from the top. Where the kernel has no Landlock it takes the place of that. It
needs bubblewrap 0.8 and a kernel that lets this user make namespaces, which a plain container
does not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from verifiers.sandbox.landlock import (
    PACKAGES,
    library,
    loaded_from_prefix,
    shared_libraries,
    zones,
)
from verifiers.sandbox.process import PYTHON

HERE = Path(__file__).resolve().parent
MAX_SINGLE_FILES = 64
"""A folder with more libraries than this is shown whole: every mount costs time at each start."""
TRY_S = 20.0
LOADER_CACHE = Path("/etc/ld.so.cache")
"""Names of libraries and where they lie; without it those in `/usr/local/lib` are not found."""
INIT = 1
"""The first process of the new process namespace is bubblewrap's own; ours is its child."""


class Bubblewrap:
    """Starts processes in namespaces of their own. `program` is another name for `bwrap`."""

    own_files = True

    def __init__(self, program: str = "bwrap") -> None:
        self._program = program

    def command(self, program: Sequence[str]) -> list[str]:
        return [*self._walls, *program]

    def parent(self) -> int:
        return INIT

    def find_fault(self) -> str:
        if shutil.which(self._program) is None:
            return f"bubblewrap is not installed: there is no `{self._program}`"
        try:
            done = subprocess.run(
                self.command([PYTHON, "-I", "-S", "-c", ""]),
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=TRY_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as failed:
            return f"bubblewrap cannot be started: {failed}"
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        if done.returncode == 0:
            return ""
        return f"bubblewrap does not work here: {said or f'it ended with {done.returncode}'}"

    @cached_property
    def _walls(self) -> list[str]:
        shown = [path for path in _shown() if path.exists()]
        walls = [shutil.which(self._program) or self._program, "--die-with-parent"]
        walls += [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup-try")]
        if os.geteuid() == 0:
            # The child becomes a user of its own, and drops this too.
            walls += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            walls += ["--unshare-user"]
        # Folders on the way can be passed and not listed, and that of root is one of them; the
        # importer has to list the one in which it looks for the sandbox's own modules.
        for folder in sorted({above for path in shown for above in path.parents} - {Path("/")}):
            walls += ["--perms", "0555" if folder == HERE.parent else "0111", "--dir", str(folder)]
        for path in shown:
            walls += ["--ro-bind", str(path), str(path)]
        for folder in _hidden(shown):
            walls += ["--perms", "0000", "--tmpfs", str(folder)]
        return [*walls, "--chmod", "0111", "/", "--remount-ro", "/", "--chdir", "/", "--"]


def _shown() -> Iterable[Path]:
    """What the process may see: what starts it, and the library."""
    yield Path(PYTHON)
    yield HERE
    yield LOADER_CACHE
    yield library()
    yield zones()
    yield from _few(loaded_from_prefix())
    yield from _few(shared_libraries())


def _few(paths: Iterable[Path]) -> Iterable[Path]:
    """The same, but folders for their files where those are many."""
    listed = list(paths)
    crowded = {
        folder
        for folder in {path.parent for path in listed}
        if sum(path.parent == folder and path.is_file() for path in listed) > MAX_SINGLE_FILES
    }
    yield from sorted(crowded)
    yield from (path for path in listed if path.parent not in crowded)


def _hidden(shown: Sequence[Path]) -> Iterable[Path]:
    """Packages of others that lie inside of what is shown."""
    packages = [library() / name for name in PACKAGES]
    packages += [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    for folder in sorted(set(packages)):
        if folder.is_dir() and any(folder.is_relative_to(path) for path in shown):
            yield folder
