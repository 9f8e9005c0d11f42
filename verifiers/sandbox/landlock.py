"""What a process may see of the file system: a Landlock rule set, made once by the parent.

Children only put it on (`child.py`), so a start costs no rule. There is no writable path, nothing
can be executed, and what can be read is the interpreter's library, the shared libraries it loads
and the time zones. Not covered by Landlock: `stat` tells whether a path exists.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE = 444, 445
"""The same numbers on every architecture."""
RULE_PATH_BENEATH = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
_FS_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16))
"""From this version on, so many rights over files are known."""
_NET_FROM, _SCOPE_FROM = 4, 6
PACKAGES = ("site-packages", "dist-packages", "test", "idlelib", "ensurepip")
"""Parts of the library that nobody in the sandbox needs."""
_LOADER_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")


def landlock_version() -> int:
    """The version of Landlock that this kernel enforces; 0 for none."""
    if sys.platform != "linux":
        return 0
    version = int(ctypes.CDLL(None, use_errno=True).syscall(CREATE_RULESET, None, 0, 1))
    return max(version, 0)


def make_ruleset() -> int:
    """Descriptor of the rule set for sandboxed processes. Raises OSError where there is none."""
    version = landlock_version()
    if version == 0:
        raise OSError("this kernel has no Landlock, or it is switched off")
    rights = max(count for since, count in _FS_RIGHTS if version >= since)
    handled = struct.pack(
        "=QQQ",
        (1 << rights) - 1,
        0b11 if version >= _NET_FROM else 0,
        0b11 if version >= _SCOPE_FROM else 0,
    )
    size = 24 if version >= _SCOPE_FROM else 16 if version >= _NET_FROM else 8
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = libc.syscall(CREATE_RULESET, handled[:size], ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "Landlock rule set")
    try:
        for path in readable_paths():
            _allow(libc, ruleset, path)
    except OSError:
        os.close(ruleset)
        raise
    return int(ruleset)


def library_is_public() -> bool:
    """Whether a user that owns nothing can read the interpreter's library; true but for root."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    return os.geteuid() != 0 or all(
        folder.stat().st_mode & 0o1 for folder in (library, *library.parents)
    )


def readable_paths() -> Iterable[Path]:
    """Files and folders that a sandboxed process may read."""
    yield from (each for each in library().iterdir() if each.name not in PACKAGES)
    yield from loaded_from_prefix()
    yield from shared_libraries()
    if zones().is_dir():
        yield zones()


def library() -> Path:
    """The interpreter's own modules."""
    return Path(sysconfig.get_path("stdlib"))


def zones() -> Path:
    return Path("/usr/share/zoneinfo")


def loaded_from_prefix() -> Iterable[Path]:
    """The interpreter's own shared libraries, for builds that bring theirs."""
    folder = Path(sys.base_prefix, "lib")
    return {each for each in folder.iterdir() if ".so" in each.name} if folder.is_dir() else ()


def shared_libraries() -> Iterable[Path]:
    """Of the loader's folders: those of the architecture, else single libraries."""
    for name in _LOADER_FOLDERS:
        folder = Path(name)
        for each in folder.iterdir() if folder.is_dir() else ():
            if each.name.endswith("-linux-gnu") if each.is_dir() else ".so" in each.name:
                yield each


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights = READ_FILE | READ_DIR if path.is_dir() else READ_FILE
        rule = struct.pack("=Qi", rights, fd)
        if libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), f"Landlock rule for {path}")
    finally:
        os.close(fd)
