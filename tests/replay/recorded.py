"""Small recordings for tests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app.replay.rows import Recorded, Recording, Row


def a_row(answers: Iterable[str | None], *, right: str = "1", name: str = "q", **more: Any) -> Row:
    """A question whose samples said `answers`; `more` goes to every sample."""
    samples = tuple(Recorded(answer=each, correct=each == right, **more) for each in answers)
    return Row(dataset="sums", model="small", id=name, samples=samples)


def a_recording(*rows: Row) -> Recording:
    return Recording(dataset="sums", model="small", rows=rows)


def questions(count: int, *, samples: int = 12, seed: int = 1) -> tuple[Row, ...]:
    """Questions of all difficulties: the right answer is "1", rivals are "2" and "3"."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        p = rng.random()
        said = [
            "1" if rng.random() < p else rng.choice(["2", "2", "3", None]) for _ in range(samples)
        ]
        rows.append(a_row(said, name=f"q{number}"))
    return tuple(rows)


def lines_of(rows: Sequence[Row], **more: Any) -> str:
    """The rows as a file has them; `more` is added to each."""
    return "".join(
        json.dumps(
            {
                "dataset": row.dataset,
                "model": row.model,
                "id": row.id,
                "samples": [
                    {"answer": s.answer, "correct": int(s.correct)}
                    | ({"tokens": s.tokens} if s.tokens is not None else {})
                    for s in row.samples
                ],
                **more,
            }
        )
        + "\n"
        for row in rows
    )


def write(folder: Path, rows: Sequence[Row], name: str = "samples_sums.jsonl") -> Path:
    file = folder / name
    file.write_text(lines_of(rows))
    return file
