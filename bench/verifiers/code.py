"""HumanEval and MBPP (sanitized): do the reference solutions pass, and how long does one take?

python -m bench.verifiers.code [--limit 50]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verifiers.base import Candidate, Check, VerifierSpec
from verifiers.run import Runner

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"


def humaneval() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, program and options of each task; helpers of the prompt are not under test."""
    for line in (DATA / "humaneval/HumanEval.jsonl").read_text().splitlines():
        row = json.loads(line)
        program = row["prompt"] + row["canonical_solution"]
        options = {"entry_point": row["entry_point"], "tests": row["test"], "setup": row["prompt"]}
        yield row["task_id"], program, options


def mbpp() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for line in (DATA / "mbpp/mbpp_sanitized.jsonl").read_text().splitlines():
        row = json.loads(line)
        defined = re.findall(r"^def (\w+)", row["code"], re.MULTILINE)
        tested = [name for name in defined if f"{name}(" in row["test_list"][0]]
        setup = "\n".join(row["test_imports"])
        options = {"entry_point": tested, "tests": row["test_list"], "setup": setup}
        yield f"MBPP/{row['task_id']}", row["code"], options


async def measure(name: str, rows: list[tuple[str, str, dict[str, Any]]]) -> dict[str, Any]:
    """One after the other, as a request would: extraction, both runs, verdict."""
    runner = Runner(deadline_ms=20_000)
    passed, times, misses = 0, [], []
    for task, program, options in rows:
        spec = VerifierSpec(use="unit_tests", options={**options, "time_limit_ms": 8_000})
        panel = await runner.prepare([spec], Check())
        assert panel.contract is not None
        started = time.perf_counter()
        text = f"```python\n{program}\n```"
        judged = await runner.judge(panel, panel.contract, Candidate(text=text))
        times.append((time.perf_counter() - started) * 1000)
        (verdict,) = judged.verdicts
        if verdict.status == "pass":
            passed += 1
        else:
            misses.append(f"{task}: {verdict.reason} {json.dumps(dict(verdict.evidence))[:160]}")
    await runner.close()
    return {
        "what": f"{name} reference solutions",
        "n": len(rows),
        "agreement": passed / len(rows),
        "right": passed,
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(sorted(times)[int(len(times) * 0.95)], 1),
        "misses": misses,
    }


def run(limit: int | None = None) -> dict[str, Any]:
    """Rows for the table of all verifier measurements."""
    rows = [
        asyncio.run(measure("HumanEval", list(humaneval())[:limit])),
        asyncio.run(measure("MBPP sanitized", list(mbpp())[:limit])),
    ]
    return {"rows": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    print(json.dumps(run(parser.parse_args().limit), indent=1))
