"""Steps as micro-batches of prime-rl's trainer, read through its file transport.

`rollouts/step_N/rank_K.bin` is a MessagePack list of `MicroBatch`, each an array in the order of
its fields. With `rollout_transport.type = "filesystem"` the trainer takes them as if its own
orchestrator had written them; its loss is configured there (`[trainer.loss]`), so of our objective
only rows, advantages and weights go along. Rows without µ go to its cross-entropy component.

The order of the fields is that of `transports/batch/types.py` in the public sources of November
2026. It has changed between versions (`sequence_lengths`, `seq_lens`), so a trainer of another
version may refuse the files or misread them. prime-rl was not run here; its `MicroBatch` was
written down again in the tests with msgspec, and reads the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.retrain.config import TrainConfig
from app.retrain.exporters.msgpack import pack
from app.retrain.exporters.run import Turn, token_advantages, write_steps
from app.retrain.plan import Row, Unit

SCHEMA = "prime-rl 2026-11"
ENVIRONMENT = "verivote"
"""`env_names`: whose rows these are, a token."""


def write_prime_rl(
    target: Path,
    units: Sequence[Sequence[Unit]],
    cfg: TrainConfig,
    objective: Any,
    *,
    ranks: int = 1,
) -> None:
    """Write `manifest.json` and `rollouts/` for `ranks` data ranks into the new folder `target`."""
    about = {
        "form": "prime_rl",
        "schema": SCHEMA,
        "policy": cfg.name,
        "objective": objective.name,
        "ranks": ranks,
        "left_out": ["the objective's loss: set [trainer.loss]"],
    }
    write_steps(target, units, cfg, _write, about, ranks=ranks)


def _write(folder: Path, turn: Turn) -> None:
    place = folder / "rollouts" / f"step_{turn.number}"
    place.mkdir(parents=True)
    for rank, share in enumerate(turn.step.shares):
        batches = [_batch(rows) if rows else _filling(turn.step.any_row) for rows in share]
        (place / f"rank_{rank}.bin").write_bytes(pack(batches))


def _batch(rows: Sequence[Row]) -> list[Any]:
    """The rows one after another: the fields of `MicroBatch` up to the last that is needed."""
    parts = [_row(row) for row in rows]
    lengths = [row.example.length for row in rows]
    streams = [[value for part in parts for value in part[at]] for at in range(len(parts[0]))]
    ids, mask, advantages, mu, positions, temperatures, names, rl, ce = streams
    required = [ids, mask, advantages, mu, positions, lengths, temperatures, names, lengths]
    if not any(ce):
        return required
    absent = [None] * 4  # ref_logprobs, routed_experts, mm_refs, mm_token_type_ids
    return [*required, *absent, rl, ce]


def _row(row: Row) -> tuple[list[Any], ...]:
    example = row.example
    before, after = len(example.prompt_ids), len(example.completion_ids)
    weighted = list(token_advantages(row))
    known = example.mu is not None
    nothing = [0.0] * before
    return (
        [*example.prompt_ids, *example.completion_ids],
        [False] * before + [True] * after,
        nothing + (weighted if known else [0.0] * after),
        nothing + [float(value) for value in example.mu or [0.0] * after],
        list(range(before + after)),
        [example.temperature] * (before + after),
        [ENVIRONMENT] * (before + after),
        nothing + [1.0 if known else 0.0] * after,
        nothing + ([0.0] * after if known else weighted),
    )


def _filling(like: Row) -> list[Any]:
    """Something to forward where another rank has a batch more, with nothing to learn from."""
    ids = [like.example.prompt_ids[0]] * 2
    none = [0.0, 0.0]
    names = [ENVIRONMENT] * 2
    return [ids, [False, False], none, none, [0, 1], [2], [1.0, 1.0], names, [2]]
