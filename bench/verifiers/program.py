"""What the agreement of a text answer with a program's result is worth, on recorded samples.

    python -m bench.verifiers.program [--limit 100]

GPT-4 answered word problems in text (`cot`) and as programs (`pot`), several times each. Over all
pairs of one question: how often two samples agree, and how often they are right when they do, for
pairs of one kind and of both kinds. Intervals are a bootstrap over questions. They are
another model's samples: they show what kind of evidence this is, not what it is worth on yours.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2].parent / "shared/data/recorded"
DATASETS = ("gsm8k", "asdiv", "tabmwp")
MODEL = "gpt-4(MoT 4x3)"
DRAWS = 1000

Counts = tuple[int, int, int]
"""Pairs, pairs that agree, agreeing pairs that are right."""


def run(limit: int | None = None) -> dict[str, Any]:
    """A row a dataset and kind of pair, over its first `limit` questions."""
    rows = []
    for dataset in DATASETS:
        questions = read_questions(dataset, limit)
        for label, mixed in (("text with text", False), ("text with program", True)):
            counts = [count_pairs(samples, mixed=mixed) for samples in questions]
            pairs, agreeing, right = map(sum, zip(*counts, strict=True))
            rows.append(
                {
                    "what": f"{dataset}: {label}, right when they agree",
                    "target": "stated",
                    "n": len(questions),
                    "agreement": round(right / max(agreeing, 1), 4),
                    "interval": bootstrap(counts),
                    "pairs_that_agree": round(agreeing / max(pairs, 1), 4),
                }
            )
    return {"name": "program", "rows": rows}


def read_questions(dataset: str, limit: int | None) -> list[list[dict[str, Any]]]:
    found = []
    with gzip.open(FOLDER / f"samples_{dataset}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["model"] == MODEL:
                found.append(row["samples"])
    return found[:limit]


def count_pairs(samples: list[dict[str, Any]], *, mixed: bool) -> Counts:
    """Pairs of two texts, or of a text and a program. A sample without answer agrees with none."""
    pairs = agreeing = right = 0
    for one, other in combinations(samples, 2):
        kinds = {str(one.get("m"))[:3], str(other.get("m"))[:3]}
        if kinds != ({"cot", "pot"} if mixed else {"cot"}):
            continue
        pairs += 1
        if one["answer"] is not None and one["answer"] == other["answer"]:
            agreeing += 1
            right += bool(one["correct"])
    return pairs, agreeing, right


def bootstrap(counts: list[Counts]) -> list[float]:
    """95 % interval of the share that is right among agreeing pairs, seeded."""
    rng = random.Random(1)
    shares = []
    for _ in range(DRAWS):
        drawn = rng.choices(counts, k=len(counts))
        shares.append(sum(c[2] for c in drawn) / max(1, sum(c[1] for c in drawn)))
    shares.sort()
    return [round(shares[int(0.025 * DRAWS)], 4), round(shares[int(0.975 * DRAWS)], 4)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    json.dump(run(parser.parse_args().limit), sys.stdout, indent=2)
