"""What the forms share: a run's steps one after another, and the manifest beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.retrain.config import TrainConfig
from app.retrain.folders import write_folder
from app.retrain.plan import Row, Step, Unit, count_steps, learning_rate, make_step

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A step in its run."""

    number: int
    step: Step
    lr: float


def write_steps(
    target: Path,
    units: Sequence[Sequence[Unit]],
    cfg: TrainConfig,
    write: Callable[[Path, Turn], None],
    about: Mapping[str, Any],
    *,
    ranks: int = 1,
) -> None:
    """The new folder `target` with what `write` makes of each step, and `about` as its manifest."""
    steps = count_steps(
        len(units),
        groups_per_step=cfg.groups_per_step,
        epochs=cfg.epochs,
        max_steps=cfg.max_steps,
    )

    def fill(folder: Path) -> None:
        for number in range(steps):
            step = make_step(
                units,
                number,
                seed=cfg.seed,
                groups_per_step=cfg.groups_per_step,
                token_budget=cfg.token_budget,
                easy_first=cfg.easy_first,
                ranks=ranks,
            )
            lr = learning_rate(number, steps, peak=cfg.lr, warmup=cfg.warmup)
            write(folder, Turn(number=number, step=step, lr=lr))
        write_manifest(folder, {**about, "steps": steps})

    write_folder(target, fill)


def write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(about, indent=1), encoding="utf-8")


def token_advantages(row: Row) -> tuple[float, ...]:
    """q_g · A of each completion token."""
    if isinstance(row.advantage, tuple):
        return tuple(row.weight * advantage for advantage in row.advantage)
    return (row.weight * float(row.advantage),) * len(row.example.completion_ids)
