"""`steps` on GSM8K's graded model solutions: which wrong ones it refutes, and which right ones.

    python -m bench.verifiers.steps [--limit 100]

A veto should be silent on right solutions; those that it refutes are listed, and some of them do
hold a wrong step. How few of the wrong ones it catches is the reason why it never is evidence.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from verifiers.equations import find_steps

FILE = Path(__file__).resolve().parents[2].parent / (
    "shared/data/gsm8k/example_model_solutions.jsonl"
)


def run(limit: int | None = None) -> dict[str, Any]:
    """Rows for right and for wrong solutions, of the first `limit` questions."""
    count = {True: 0, False: 0}
    refuted = {True: 0, False: 0}
    steps = 0
    misses = []
    for index, line in enumerate(FILE.read_text(encoding="utf-8").splitlines()[:limit]):
        for name, solution in json.loads(line).items():
            if not isinstance(solution, dict):
                continue
            right = solution["is_correct"]
            found = find_steps(solution["solution"])
            steps += len(found)
            count[right] += 1
            wrong = [step.text for step in found if not step.right]
            refuted[right] += bool(wrong)
            if right and wrong:
                misses.append({"question": index, "model": name, "steps": wrong[:3]})
    return {
        "name": "steps",
        "rows": [
            {
                "what": "steps on right GSM8K solutions",
                "target": "few refuted",
                "n": count[True],
                "agreement": round(1 - refuted[True] / max(count[True], 1), 4),
                "steps_read": steps,
                "misses": misses,
            },
            {
                "what": "steps on wrong GSM8K solutions",
                "target": "a veto, no evidence",
                "n": count[False],
                "refuted": round(refuted[False] / max(count[False], 1), 4),
            },
        ],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    print(json.dumps(run(parser.parse_args().limit), indent=1))
