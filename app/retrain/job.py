"""The folder of a night: what the trainer is asked, and what it said. No torch here.

`<data>/nights/<night>/` holds `job.json` and `rows.jsonl`, which the trainer reads, and
`selection.json`, what the report says of them; the trainer writes `metrics.jsonl`, `checkpoints/`,
`result.json` and `train.log`. Rows are written once: a night that goes on trains on the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.errors import ConfigError
from app.retrain.folders import write_file
from app.settings import RetrainSettings
from app.store.policies import Policy

JOB, ROWS, SELECTION = "job.json", "rows.jsonl", "selection.json"
METRICS, RESULT, LOG = "metrics.jsonl", "result.json", "train.log"
SAYS = "verivote train: "
"""How a line begins that the trainer itself wrote."""
LAST = 5
"""Steps at the end of a run whose KL is the policy's."""


def make_job(
    settings: RetrainSettings,
    *,
    name: str,
    base: Path,
    base_model: str,
    parent: Policy | None,
    out: Path,
    seed: int,
) -> dict[str, Any]:
    """`job.json` (config.py: Job). Without an adapter the parent's own weights are the base."""
    whole = settings.lora_rank == 0
    from_parent = Path(parent.path) if parent is not None and parent.path else None
    guards = settings.guards
    return {
        "base": str(from_parent if whole and from_parent else base),
        "parent_adapter": None if whole or from_parent is None else str(from_parent),
        "parent_policy": parent.name if parent else base_model,
        "out": str(out),
        "memory_gb": settings.memory_gb,
        "train": {
            "name": name,
            "seed": seed,
            "objective": settings.objective,
            "objective_options": dict(settings.objective_options),
            "shaping": settings.shaping.model_dump(),
            "lora": None if whole else {"r": settings.lora_rank, "alpha": settings.lora_alpha},
            "lr": settings.lr,
            "warmup": settings.warmup,
            "grad_clip": settings.grad_clip,
            "epochs": settings.epochs,
            "groups_per_step": settings.groups_per_step,
            "easy_first": settings.easy_first,
            "max_steps": settings.max_steps,
            "token_budget": settings.token_budget,
            "gradient_checkpointing": settings.gradient_checkpointing,
            "dtype": settings.dtype,
            "checkpoint_every": settings.checkpoint_every,
            "threads": settings.threads,
            "guards": {
                "m2_stop": guards.m2_stop or None,
                "ess_stop": guards.ess_stop or None,
                "entropy_drop": guards.entropy_drop or None,
                "grad_spike": guards.grad_spike or None,
            },
        },
        "canary": {"max_mean": settings.max_mu_drift},
    }


def base_folder(settings: RetrainSettings, model: str) -> Path:
    """Where the base model's files are. `model` is that of the engine. Raises `ConfigError`."""
    for key, folder in (("retrain.base", settings.base), ("the engine's model", model)):
        if folder and Path(folder).is_dir():
            return Path(folder).resolve()
        if folder and key == "retrain.base":
            raise ConfigError(f"retrain.base: there is no folder {folder}")
    raise ConfigError(
        "retrain.base is missing: name the folder of the model that engine "
        f"'{settings.engine}' serves, with its tokenizer"
    )


class JobFolder:
    """The files of one night."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_of(self, job: Mapping[str, Any]) -> bool:
        """Whether rows were chosen and written for exactly this job."""
        return (self.path / SELECTION).exists() and self._json(JOB) == dict(job)

    def begin(self) -> None:
        """Empty, for a job that is another than before."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)

    def write(
        self,
        job: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]],
        selection: Mapping[str, Any],
    ) -> None:
        """The selection last: where it is there, all of it is."""
        write_file(self.path / JOB, json.dumps(job, indent=1).encode())
        write_file(self.path / ROWS, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        write_file(self.path / SELECTION, json.dumps(selection).encode())

    def selection(self) -> dict[str, Any] | None:
        return self._json(SELECTION)

    def result(self) -> dict[str, Any] | None:
        """What the trainer said at its end; None when it did not get there."""
        return self._json(RESULT)

    def forget_result(self) -> None:
        (self.path / RESULT).unlink(missing_ok=True)

    def steps(self) -> list[dict[str, Any]]:
        """What the trainer wrote of each step."""
        try:
            lines = (self.path / METRICS).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):  # the last line, while it is written
                found.append(json.loads(line))
        return found

    def kl(self) -> float | None:
        """KL to the parent at the end of the run, nats a token; None when it was not measured."""
        known = [step["kl"] for step in self.steps() if step.get("kl") is not None]
        return statistics.fmean(known[-LAST:]) if known else None

    def last_words(self, since: int) -> str:
        """What the trainer wrote on standard error last, after `since` bytes of the log. A launcher
        adds lines of its own, so those that begin as the trainer's go first."""
        try:
            said = (self.path / LOG).read_bytes()[since:].decode(errors="replace")
        except FileNotFoundError:
            return ""
        lines = said.strip().splitlines()
        own = [line for line in lines if line.startswith(SAYS)]
        return (own or lines or [""])[-1].removeprefix(SAYS)

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found
