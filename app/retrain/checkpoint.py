"""Checkpoints: all that a run needs to go on as if nothing had happened.

One folder a checkpoint, named by the updates its weights have had, written beside and renamed, so
a kill at any moment leaves the one before. The order of the data needs no saving: it follows from
the seed (plan.py). The learning rate needs none either: it is a function of the step.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.retrain.folders import UNFINISHED, write_folder

KEPT = 2
"""The newest may hold what the next step finds to be bad."""
FILE = "state.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is in a checkpoint."""

    step: int
    """Updates that the weights have had."""
    job: str
    """Digest of job and rows: a checkpoint of another run is none of ours."""
    weights: Mapping[str, Any]
    """Trained weights by full name, whole, on the CPU."""
    optimizer: Mapping[str, Any]
    rng: tuple[Mapping[str, Any], ...]
    """State of the random generators of each process."""
    guards: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run. Only the first process writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: State) -> None:
        target = self._folder / f"step-{state.step:06d}"
        if target.exists():  # trained up to here before, then set back
            shutil.rmtree(target)
        content = {name: getattr(state, name) for name in State.__dataclass_fields__}
        write_folder(target, lambda folder: torch.save(content, folder / FILE))
        for old in self._folders()[:-KEPT]:
            shutil.rmtree(old)

    def load(self, *, below: int | None = None) -> State | None:
        """The newest, or the newest with fewer than `below` updates."""
        for folder in reversed(self._folders()):
            if below is None or _step_of(folder) < below:
                content = torch.load(folder / FILE, map_location="cpu", weights_only=True)
                return State(**content)
        return None

    def clean(self) -> None:
        """Remove what a kill left half written."""
        for folder in self._folder.glob(f"{UNFINISHED}step-*"):
            shutil.rmtree(folder)

    def drop(self) -> None:
        """Remove all of them; the run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"))


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))
