"""How far µ, as the server logged it, is from what the trainer computes from the same weights.

python -m real_world.drift NIGHT_FOLDER float32|bfloat16        # prints JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from app.retrain.canary import pick_rows
from app.retrain.config import read_job
from app.retrain.examples import Example, read_file
from app.retrain.job import JOB, ROWS
from app.retrain.model import prepare_model
from app.retrain.objectives.base import log_ratio
from app.retrain.plan import Row
from app.retrain.scoring import score
from app.retrain.tensors import make_batch
from app.retrain.tokenising import Tokeniser

ROWS_AT_MOST = 64
TOGETHER = 16


def drift_of(model: Any, rows: Sequence[Example]) -> torch.Tensor:
    """log π − log µ of every completion token."""
    parts = []
    with torch.no_grad():
        for first in range(0, len(rows), TOGETHER):
            drawn = rows[first : first + TOGETHER]
            batch = make_batch([Row(example=each, advantage=0.0, group=0) for each in drawn])
            logprobs, _ = score(model, batch)
            parts.append(log_ratio(batch, logprobs)[batch.mu_known].double())
    return torch.cat(parts)


def main(folder: Path, dtype: str) -> None:
    job = read_job(folder / JOB)
    settings = job.train.model_copy(update={"dtype": dtype, "gradient_checkpointing": False})
    groups = read_file(folder / ROWS, tokenise=Tokeniser(job.base))
    model = prepare_model(job.base, job.parent_adapter, settings).eval()
    rows = pick_rows(groups, job.parent_policy, ROWS_AT_MOST)
    every = drift_of(model, rows)
    forgotten = drift_of(model, [replace(each, temperature=1.0) for each in rows])
    size = every.abs()
    print(
        json.dumps(
            {
                "rows": len(rows),
                "tokens": len(every),
                "mean_abs": round(float(size.mean()), 4),
                "mean": round(float(every.mean()), 4),
                "p99": round(float(size.quantile(0.99)), 3),
                "max": round(float(size.max()), 3),
                "mean_abs_at_temperature_1": round(float(forgotten.abs().mean()), 4),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
