"""`policy` on texts that hold nothing forbidden: what it blocks there is a false alarm.

The other direction, forbidden content in every disguise, is a matrix in tests/verifiers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verifiers.base import Answer, Candidate, Check
from verifiers.kinds.policy import Policy

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SOURCES = (
    ("ifbench/labelled_responses_strict.jsonl", ("response",)),
    ("gsm8k/test.jsonl", ("answer",)),
    ("humaneval/HumanEval.jsonl", ("prompt", "canonical_solution", "test")),
)
OPTIONS = {"forbid": ["pii", "secrets"], "allowed_hosts": []}


def run(limit: int | None = None) -> dict[str, Any]:
    """One row: the share of harmless texts that pass, on the first `limit` of each source."""
    verifier = Policy()
    prepared = verifier.prepare(OPTIONS, Check())
    passed, taken, misses = 0, [], []
    for name, text in _texts(limit):
        started = time.perf_counter()
        finding = verifier.verify(prepared, Candidate(text=text), Answer(kind="none", rule=None))
        taken.append((time.perf_counter() - started) * 1000)
        passed += finding.status == "pass"
        if finding.status != "pass":
            misses.append({"text": name, "reason": finding.reason, **finding.evidence})
    taken.sort()
    row = {
        "what": "policy on harmless texts",
        "target": "no false alarm",
        "n": len(taken),
        "agreement": round(passed / max(len(taken), 1), 4),
        "interval": _interval(passed, len(taken)),
        "median_ms": round(taken[len(taken) // 2], 2) if taken else None,
        "max_ms": round(taken[-1], 2) if taken else None,
        "misses": misses,
    }
    return {"name": "policy", "rows": [row]}


def _texts(limit: int | None) -> Iterator[tuple[str, str]]:
    for path, fields in SOURCES:
        lines = (DATA / path).read_text(encoding="utf-8").split("\n")
        for index, line in enumerate([line for line in lines if line.strip()][:limit]):
            row = json.loads(line)
            yield f"{path}:{index}", "\n".join(row[field] for field in fields)


def _interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not n:
        return (0.0, 1.0)
    z, share = 1.96, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (round(middle - half, 4), round(middle + half, 4))
