"""What a run has measured so far: `metrics.jsonl`, one line a step, and its summary."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.retrain.folders import write_file
from app.retrain.guards import Measured

ENDS = 5
"""Steps at either end of a run that its summary averages."""
AVERAGED = ("loss", "reward", "entropy", "m2", "kl", "ess", "grad_norm")


class History:
    """The steps of a run. A process that does not write (`path` None) knows only its own."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._steps: list[Measured] = []

    def cut(self, first: int) -> None:
        """Take up what an earlier process wrote down before step `first`, and drop the rest."""
        if self._path is None or not self._path.exists():
            return
        rows = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line of a killed process
                rows.append(json.loads(line))
        kept = [row for row in rows if row["step"] < first]
        write_file(self._path, b"".join(json.dumps(row).encode() + b"\n" for row in kept))
        self._steps = [Measured(**row) for row in kept]

    def add(self, measured: Measured) -> None:
        self._steps.append(measured)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(measured.to_json()) + "\n")

    def summary(self) -> dict[str, Any]:
        """Counts, and means over both ends of the run; empty without a step."""
        steps = self._steps
        if not steps:
            return {}
        return {
            "steps": len(steps),
            "tokens": sum(measured.tokens for measured in steps),
            "tokens_per_s": statistics.median(measured.tokens_per_s for measured in steps),
            "alarms": sum(bool(measured.alarms) for measured in steps),
            "first": {name: _mean(steps[:ENDS], name) for name in AVERAGED},
            "last": {name: _mean(steps[-ENDS:], name) for name in AVERAGED},
        }


def _mean(steps: Sequence[Measured], name: str) -> float | None:
    values = [value for step in steps if (value := getattr(step, name)) is not None]
    return statistics.fmean(values) if values else None
