"""The trainer's process: started beside the gateway, in its way as little as possible, never
outliving it.

It has its own session, a low priority, and the memory limit of the job; it is killed with whoever
waits for it, and so are all of its processes where it has several on this machine (launch.py).
Killed at any moment it goes on when it is started again in the same folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import app
from app.errors import ConfigError, VerivoteError
from app.retrain import launch
from app.retrain.base_tokenizer import FILES
from app.retrain.job import LOG, JobFolder
from app.settings import RetrainSettings

NICE = 10
LOOK_S = 0.5
TOKENIZER_WITHIN_S = 120.0
"""A cold disk takes its time over the libraries that train."""
INVALID, MISSING = 2, 3
"""Exit codes of app/retrain/train.py."""

OnSteps = Callable[[int], None]

log = logging.getLogger("verivote.night")


class TrainerFailed(VerivoteError):
    """The trainer ended without a result."""


def find_python(named: str) -> str:
    """The interpreter of the setting `retrain.python`, else this one. Raises `ConfigError`."""
    if named:
        found = shutil.which(os.path.expanduser(named))
        if found is None:
            raise ConfigError(f"retrain.python: there is no interpreter '{named}'")
        return found
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "retrain.python is not set and this interpreter cannot train: "
            "pip install 'verivote[train]', or name an interpreter that has it"
        )
    return sys.executable


def make_command(folder: Path, settings: RetrainSettings) -> list[str]:
    """What starts the trainer. Raises `ConfigError` for a program that is not there."""
    python = find_python(settings.python)
    if settings.processes == 1:
        return [python, "-m", "app.retrain.train", str(folder)]
    started = launch.make_command(python, folder, processes=settings.processes, fsdp=settings.fsdp)
    if not settings.launcher:
        return started
    first, *rest = settings.launcher
    launcher = shutil.which(os.path.expanduser(first))
    if launcher is None:
        raise ConfigError(f"retrain.launcher: there is no program '{first}'")
    return [launcher, *rest, *started]


async def train(
    folder: JobFolder, command: Sequence[str], *, on_steps: OnSteps
) -> Mapping[str, Any]:
    """Run the trainer in its folder to the end; what it said. `on_steps` hears how far it is.

    Raises `ConfigError` when it will not have the job, `TrainerFailed` when it ended otherwise.
    """
    folder.forget_result()
    with (folder.path / LOG).open("ab") as log:
        begun = log.tell()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.retrain.child",
            str(NICE),
            str(os.getpid()),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(),
            start_new_session=True,
        )
    try:
        code = await _wait(process, folder, on_steps)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    result = folder.result()
    if result is not None:  # written last of all, whatever a launcher made of the exit code
        return result
    said = folder.last_words(begun) or _ended(code)
    if code in (INVALID, MISSING):
        raise ConfigError(said)
    raise TrainerFailed(f"the trainer failed: {said} ({folder.path / LOG})")


async def base_tokenizer(base: Path, python: str) -> str | None:
    """Digest of the tokenizer in the folder `base`; None where there is none, or none that this
    interpreter can load."""
    if not any((base / name).exists() for name in FILES):
        return None
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        "app.retrain.base_tokenizer",
        str(base),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
    )
    try:
        async with asyncio.timeout(TOKENIZER_WITHIN_S):
            said, complaint = await process.communicate()
    except TimeoutError:
        said, complaint = b"", b"it took too long"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return said.decode().split()[-1]
    why = complaint.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason was given"]
    log.warning("the tokenizer in %s cannot be loaded: %s", base, why[0])
    return None


async def _wait(process: asyncio.subprocess.Process, folder: JobFolder, on_steps: OnSteps) -> int:
    told = 0
    ended = asyncio.ensure_future(process.wait())
    while True:
        done, _ = await asyncio.wait((ended,), timeout=LOOK_S)
        if (steps := len(await asyncio.to_thread(folder.steps))) != told:
            told = steps
            on_steps(steps)
        if done:
            return ended.result()


def _environment() -> dict[str, str]:
    """This process's, where any interpreter finds the same `app`. The trainer needs no secret."""
    root = str(Path(app.__file__).parents[1])
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VERIVOTE__") and not name.endswith(("_API_KEY", "_TOKEN"))
    }
    path = os.pathsep.join(part for part in (root, kept.get("PYTHONPATH", "")) if part)
    return {**kept, "PYTHONPATH": path}


def _ended(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
