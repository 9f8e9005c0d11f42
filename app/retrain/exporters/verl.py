"""Rows as rollouts of verl, for an agent loop that replays them.

`rollouts.jsonl` has one `AgentLoopOutput` a line; `data.jsonl`, in the same order, is the data set
that asks for them (`data.train_files`, without shuffling): `extra_info.index` is the line. verl
makes its own steps of it, compares samples by an estimator of its configuration and has its own
losses, so advantages go along in `extra_fields`, each with the weight of its group, for an
estimator that takes them as they are. Rows without µ are left out and counted: verl takes a batch
with µ or without.

Written from the sources of verl 0.9.1 (`experimental/agent_loop/agent_loop.py`,
`utils/dataset/rl_dataset.py`), whose model of an output read such lines once. verl was not run
here. It samples at one temperature, so rows of several are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.errors import ConfigError
from app.retrain.config import TrainConfig
from app.retrain.exporters.run import token_advantages, write_manifest
from app.retrain.folders import write_folder
from app.retrain.plan import Row, Unit

SCHEMA = "verl 0.9.1"
AGENT = "verivote"
"""`agent_name`: the loop that replays."""
DATA, ROLLOUTS = "data.jsonl", "rollouts.jsonl"


def write_verl(
    target: Path, units: Sequence[Sequence[Unit]], cfg: TrainConfig, objective: Any
) -> None:
    """Write `manifest.json`, `data.jsonl` and `rollouts.jsonl` into the new folder `target`.

    Raises `ConfigError` for rows of several temperatures, and where no row has µ.
    """
    every = [row for group in units for unit in group for row in unit]
    rows = [row for row in every if row.example.mu is not None]
    if not rows:
        raise ConfigError("no row has µ, without which verl has nothing to compare with")
    temperature = _temperature(rows)
    left_out = ["the objective's loss: set algorithm.rollout_correction"]
    if len(rows) < len(every):
        left_out.append(f"rows without µ: {len(every) - len(rows)}")

    def fill(folder: Path) -> None:
        _write_lines(folder / DATA, (_question(at, row) for at, row in enumerate(rows)))
        _write_lines(folder / ROLLOUTS, (_rollout(row) for row in rows))
        about = {
            "form": "verl",
            "schema": SCHEMA,
            "policy": cfg.name,
            "objective": objective.name,
            "rows": len(rows),
            "temperature": temperature,
            "left_out": left_out,
        }
        write_manifest(folder, about)

    write_folder(target, fill)


def _temperature(rows: Sequence[Row]) -> float:
    first = rows[0].example.temperature
    for row in rows:
        if row.example.temperature != first:
            raise ConfigError(
                f"sample {row.example.sample} of {row.example.group} was drawn at temperature "
                f"{row.example.temperature:g} and others at {first:g}; verl knows one"
            )
    return first


def _question(at: int, row: Row) -> dict[str, Any]:
    """A row of the data set. Its prompt only names the group: the ids are in the rollout."""
    return {
        "data_source": AGENT,
        "agent_name": AGENT,
        "prompt": [{"role": "user", "content": row.example.group}],
        "reward_model": {"style": "rule", "ground_truth": ""},
        "extra_info": {"index": at},
    }


def _rollout(row: Row) -> dict[str, Any]:
    example = row.example
    return {
        "prompt_ids": list(example.prompt_ids),
        "response_ids": list(example.completion_ids),
        "response_mask": [1] * len(example.completion_ids),
        "response_logprobs": list(example.mu or ()),
        "reward_score": example.reward,
        "num_turns": 2,
        "metrics": {},
        "extra_fields": {
            "group": example.group,
            "sample": example.sample,
            "advantages": list(token_advantages(row)),
        },
    }


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
