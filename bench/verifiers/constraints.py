"""`constraints` against the labels of IFBench, and what it finds in the prompts of IFEval.

IFBench's labels are verdicts of its own strict checkers, so every disagreement is listed with the
reading of both sides left to the reader. An abstention is counted apart: it is no agreement.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from verifiers.base import Answer, Candidate, Check
from verifiers.kinds.constraint_checks.instruction import known_ids
from verifiers.kinds.constraint_checks.prompt import find_constraints
from verifiers.kinds.constraints import Constraints

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def run(limit: int | None = None) -> dict[str, Any]:
    """Rows of both measurements, on the first `limit` records of each."""
    return {"name": "constraints", "rows": [_labels(limit), _prompts(limit)]}


def _labels(limit: int | None) -> dict[str, Any]:
    tests = {row["prompt"].strip(): row for row in _read("ifbench/ifbench_test.jsonl")}
    labelled = decided = agreed = supported = 0
    undecided: Counter[str] = Counter()
    misses = []
    for index, row in enumerate(_read("ifbench/labelled_responses_strict.jsonl")[:limit]):
        test = tests.get(row["prompt"].strip())
        kwargs = test["kwargs"] if test else [{}] * len(row["instruction_id_list"])
        labels = row["follow_instruction_list"]
        for id, given, label in zip(row["instruction_id_list"], kwargs, labels, strict=True):
            labelled += 1
            if id not in known_ids():
                continue
            supported += 1
            status = _status({"id": id, "kwargs": given}, row["response"])
            if status == "abstain":
                undecided[id] += 1
                continue
            decided += 1
            agreed += (status == "pass") == label
            if (status == "pass") != label:
                misses.append({"row": index, "id": id, "label": label, "verdict": status})
    return {
        "what": "IFBench strict labels",
        "target": "agreement >= 0.97 where supported",
        "n": decided,
        "agreement": round(agreed / max(decided, 1), 4),
        "interval": _interval(agreed, decided),
        "labels": labelled,
        "supported": round(supported / max(labelled, 1), 4),
        "undecided": dict(undecided),
        "misses": misses,
    }


def _prompts(limit: int | None) -> dict[str, Any]:
    """Constraints found in prompts, against those with which the prompts were made."""
    stated = attached = right = 0
    misses = []
    for row in _read("ifeval/ifeval_prompts.jsonl")[:limit]:
        truth = [
            _folded({"id": id, **given})
            for id, given in zip(row["instruction_id_list"], row["kwargs"], strict=True)
        ]
        stated += len(truth)
        for found in find_constraints(row["prompt"]):
            attached += 1
            right += _folded(found) in truth
            if _folded(found) not in truth:
                misses.append({"key": row["key"], "found": found, "listed": truth})
    return {
        "what": "IFEval prompts, constraints found",
        "target": "no false attachment",
        "n": attached,
        "agreement": round(right / max(attached, 1), 4),
        "interval": _interval(right, attached),
        "stated": stated,
        "found": round(right / max(stated, 1), 4),
        "misses": misses,
    }


def _status(given: dict[str, Any], response: str) -> str:
    verifier = Constraints()
    prepared = verifier.prepare({"instructions": [given]}, Check())
    nothing = Answer(kind="none", rule=None)
    return str(verifier.verify(prepared, Candidate(text=response), nothing).status)


def _folded(given: dict[str, Any]) -> str:
    """Comparable: no nulls, case of keywords apart."""
    return json.dumps({k: v for k, v in given.items() if v is not None}, sort_keys=True).casefold()


def _read(name: str) -> list[dict[str, Any]]:
    lines = (DATA / name).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def _interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not n:
        return (0.0, 1.0)
    z, share = 1.96, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (round(middle - half, 4), round(middle + half, 4))
