"""The required draft 2020-12 part of the JSON-Schema test suite, through `json_schema`.

    python -m bench.verifiers.json_schema [--limit 100]

Every case goes the way of an answer: its data is written as text and read back strictly. The
suite's remote documents are handed over as `resources`; nothing is fetched. A schema that is
refused counts as a miss of all of its cases.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from verifiers.base import Answer, BadCheck, Candidate, Check
from verifiers.kinds.json_schema import JsonSchema

SUITE = Path(__file__).resolve().parents[2].parent / "shared/data/json_schema_suite"
ADDRESS = "http://localhost:1234/"
NOTHING = Answer(kind="none", rule=None)


def run(limit: int | None = None) -> dict[str, Any]:
    """One row, over the first `limit` cases."""
    verifier = JsonSchema()
    remotes = {
        ADDRESS + str(file.relative_to(SUITE / "remotes")): json.loads(file.read_text("utf-8"))
        for file in sorted((SUITE / "remotes").rglob("*.json"))
    }
    right, taken, misses = 0, list[float](), list[dict[str, Any]]()
    for name, schema, cases in _groups(limit):
        options = {"schema": schema, "resources": remotes}
        refused = ""
        try:
            prepared = verifier.prepare(options, Check())
        except BadCheck as bad:
            refused = bad.message
        for case in cases:
            verdict = refused
            if not refused:
                begun = time.perf_counter()
                text = json.dumps(case["data"])
                verdict = verifier.verify(prepared, Candidate(text=text), NOTHING).status.value
                taken.append((time.perf_counter() - begun) * 1000)
            if verdict == ("pass" if case["valid"] else "fail"):
                right += 1
            else:
                misses.append(
                    {"case": f"{name}: {case['description']}", "valid": case["valid"]}
                    | {"verdict": verdict}
                )
    count = right + len(misses)
    row = {
        "what": "JSON-Schema suite, required draft 2020-12",
        "target": ">= 1290/1299",
        "n": count,
        "right": right,
        "agreement": round(right / max(count, 1), 5),
        "interval": _interval(right, count),
        "median_ms": round(sorted(taken)[len(taken) // 2], 3) if taken else None,
        "misses": misses,
    }
    return {"name": "json_schema", "rows": [row]}


def _groups(limit: int | None) -> list[tuple[str, Any, list[dict[str, Any]]]]:
    groups, left = [], limit
    for file in sorted((SUITE / "tests/draft2020-12").glob("*.json")):
        for group in json.loads(file.read_text(encoding="utf-8")):
            cases = group["tests"][:left]
            if left is not None:
                left -= len(cases)
            if cases:
                groups.append((f"{file.stem}, {group['description']}", group["schema"], cases))
    return groups


def _interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not n:
        return (0.0, 1.0)
    z, share = 1.96, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (round(middle - half, 4), round(min(1.0, middle + half), 4))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    print(json.dumps(run(parser.parse_args().limit), indent=1))
