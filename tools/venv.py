"""Make a virtual environment, one named step after another.

    python tools/venv.py FOLDER --step "TITLE" PIP-ARGUMENT... [--step …]

Every step is one `pip install`. Its output goes to `FOLDER/install.log`; a step that fails says
which it was, why in one line where the log tells, and what to do. Needs only the standard library,
because it runs before anything is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 1 * 2**30

CAUSES = (
    (
        ("No space left on device", "Disk quota exceeded"),
        "the disk is full",
        "free about 1 GB in this folder's file system, then run the same command again",
    ),
    (
        (
            "NewConnectionError",
            "Temporary failure in name resolution",
            "Name or service not known",
            "Network is unreachable",
            "Connection refused",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "Read timed out",
            "ProxyError",
            "SSLError",
        ),
        "the package index cannot be reached",
        "check the network, or point pip at your index (pip config set global.index-url URL)",
    ),
    (
        ("No matching distribution found", "Could not find a version"),
        "the package index has no build of a pinned package for this Python and machine",
        "use a Python between 3.11 and 3.13 on x86-64 or arm64 Linux or macOS: "
        "make PYTHON=/path/to/python",
    ),
    (
        ("Permission denied",),
        "a file may not be written",
        "run it as the owner of this folder, or remove the folder it names",
    ),
)


class StepFailed(Exception):
    """One step could not be done: which, why, and what to do."""

    def __init__(self, step: str, why: str, fix: str, log: Path | None = None) -> None:
        lines = [f"{step}: {why}.", f"  do: {fix}"]
        if log is not None:
            lines += [*_tail(log), f"  log: {log}"]
        super().__init__("\n".join(lines))


def main(arguments: list[str]) -> int:
    folder, steps = _parse(arguments)
    try:
        check_python()
        check_disk(folder)
        make(folder)
        for title, pip_arguments in steps:
            install(folder, title, pip_arguments)
    except StepFailed as failed:
        sys.stderr.write(f"\nThis step is impossible here — {failed}\n")
        return 1
    return 0


def check_python() -> None:
    step = "Python 3.11 or newer with venv"
    if sys.version_info < MIN_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise StepFailed(step, f"{sys.executable} is {found}", "make PYTHON=/path/to/python3.11")
    try:
        import ensurepip  # noqa: F401 — Debian ships Python without it
        import venv  # noqa: F401
    except ImportError as missing:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise StepFailed(
            step, f"this Python has no module {missing.name}", f"apt-get install {package}"
        ) from None


def check_disk(folder: Path) -> None:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < MIN_FREE_BYTES:
        raise StepFailed(
            "disk space",
            f"{place} has {free // 2**20} MB free, {MIN_FREE_BYTES // 2**20} MB are needed",
            "free some, or move the checkout to a larger disk",
        )


def make(folder: Path) -> None:
    """The environment itself; one that an interrupted run left half made is made anew."""
    if _has_pip(folder):
        return
    _say("make the virtual environment")
    command = [sys.executable, "-m", "venv", "--clear", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        last = output.splitlines()[-1] if output else f"exit status {done.returncode}"
        raise StepFailed("virtual environment", last, f"see: {' '.join(command)}")


def install(folder: Path, title: str, pip_arguments: list[str]) -> None:
    started = time.monotonic()
    _say(title)
    log = folder / "install.log"
    # Byte code is written when a module is first used: nobody waits for modules nobody imports.
    command = [_python(folder), "-m", "pip", "install", "--no-compile", "--no-input"]
    command += ["--disable-pip-version-check", *pip_arguments]
    with log.open("w", encoding="utf-8") as out:
        out.write(" ".join(command) + "\n")
        out.flush()
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
    if code != 0:
        why, fix = explain(log.read_text(encoding="utf-8", errors="replace"))
        raise StepFailed(title, why, fix, log)
    _say(f"  done in {time.monotonic() - started:.0f} s")


def explain(output: str) -> tuple[str, str]:
    """Why pip failed and what to do, from what it printed."""
    for signs, why, fix in CAUSES:
        if any(sign in output for sign in signs):
            return why, fix
    return "pip failed", "read the log; if it was interrupted, run the same command again"


def _parse(arguments: list[str]) -> tuple[Path, list[tuple[str, list[str]]]]:
    folder, *rest = arguments
    steps: list[tuple[str, list[str]]] = []
    while rest:
        marker, title, *rest = rest
        if marker != "--step":
            raise SystemExit(f"expected --step, got {marker}")
        end = rest.index("--step") if "--step" in rest else len(rest)
        steps.append((title, rest[:end]))
        rest = rest[end:]
    return Path(folder), steps


def _has_pip(folder: Path) -> bool:
    try:
        command = [_python(folder), "-m", "pip", "--version"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _python(folder: Path) -> str:
    return str(folder / "bin" / "python")


def _tail(log: Path, lines: int = 8) -> list[str]:
    shown = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-lines:]
    return [f"  | {line}" for line in shown]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
