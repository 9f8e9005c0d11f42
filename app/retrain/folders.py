"""Folders that are there whole or not at all, whenever the power goes."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

UNFINISHED = "."
"""Begins the name of a folder that is still being written."""


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a hidden folder beside `target`, sync it, and give it its name.

    Raises FileExistsError when `target` is there: what has a name is never changed.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.parent / f"{UNFINISHED}{target.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    fill(unfinished)
    for path in (*unfinished.rglob("*"), unfinished):
        _sync(path)
    unfinished.rename(target)
    _sync(target.parent)


def write_file(target: Path, data: bytes) -> None:
    """Put `data` in the place of whatever `target` holds."""
    unfinished = target.parent / f"{UNFINISHED}{target.name}"
    unfinished.write_bytes(data)
    _sync(unfinished)
    unfinished.replace(target)
    _sync(target.parent)


def digest(folder: Path) -> str:
    """Hex sha256 of the names and contents of all files."""
    running = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        running.update(f"{path.relative_to(folder)}\0{content}\n".encode())
    return running.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
