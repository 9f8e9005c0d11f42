"""What trains: anything that turns groups and a base into a policy's files.

Not to be confused with the engines that samples come from. `PeftEngine` (trainer.py) is the one of
this project; larger trainers are reached by files (exporters/).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from app.retrain.config import TrainConfig
from app.retrain.examples import TrainingGroup

Outcome = Literal["finished", "stopped", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """How far the parent's weights are today from what the server logged.

    `mean` and `p99` are of |ℓ| over tokens, None when no row could be used.
    """

    rows: int
    tokens: int
    mean: float | None
    p99: float | None
    reason: str
    """Why not to train; empty to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run came to."""

    outcome: Outcome
    """`stopped`: a guard ended it; `refused`: nothing was trained."""
    reason: str
    """Why it was stopped or refused; empty when it finished."""
    folder: Path | None = None
    """The policy's files. None when there is nothing worth keeping."""
    sha256: str | None = None
    """Of names and contents of the files in `folder`."""
    steps: int = 0
    """Updates that the weights in `folder` have had."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Both ends of the run, counts and seconds; empty where nothing was run."""
    canary: Canary | None = None
    """What was found before training; None where it was not looked for, as after a resume."""


class TrainingEngine(Protocol):
    def train(
        self,
        groups: Sequence[TrainingGroup],
        base: Path,
        parent_adapter: Path | None,
        cfg: TrainConfig,
    ) -> Trained:
        """Raises `ConfigError` for what cannot be trained on or with."""
        ...
