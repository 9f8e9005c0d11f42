"""How often the gate promotes: policies of a known gain, on made-up held-out prompts.

Each night draws prompts whose pass rates are Beta(0.8, 0.8): many easy, many hard, some between.
The candidate's rate is the incumbent's plus the gain plus N(0, 0.1), cut to 0..1. Both are sampled
8 times a prompt. There are two tasks and two difficulties as slices, no hidden verifier, and
nothing degenerates. Counted are the share of nights that promote and which condition refused.

    python bench/gate.py [--nights 100] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not bench/, where `verifiers` is the folder of other measurements

from app.retrain.evidence import Drawn, Outcome, Pair  # noqa: E402
from app.retrain.gate import GateSettings, judge  # noqa: E402
from app.retrain.paired import Change, differ  # noqa: E402
from app.voting.reliability import wilson  # noqa: E402

PROMPTS = (200, 500, 1_000)
GAINS = (0.0, 0.02, 0.03, 0.05, 0.10)
SAMPLES = 8
RESAMPLES = 1_000


def outcome(number: int, rate: float, incumbent: float, rng: random.Random) -> Outcome:
    drawn = tuple(
        Drawn(
            text="",
            finish_reason="stop",
            tokens=max(1, round(rng.gauss(120, 30))),
            answer=None,
            reward=float(rng.random() < rate),
        )
        for _ in range(SAMPLES)
    )
    return Outcome(
        prompt=f"p{number}",
        cluster=f"c{number}",
        drawn=drawn,
        voted=None,
        verified=None,
        slices={
            "task": "a" if number % 2 else "b",
            "difficulty": "easy" if incumbent > 0.5 else "hard",
        },
    )


def evidence(prompts: int, gain: float, seed: int) -> tuple[list[Pair], float]:
    """The pairs, and the true mean gain after cutting."""
    rng, pairs, true = random.Random(f"{prompts}/{gain}/{seed}"), [], 0.0
    for number in range(prompts):
        old = rng.betavariate(0.8, 0.8)
        new = min(1.0, max(0.0, old + gain + rng.gauss(0, 0.1)))
        true += new - old
        pairs.append(Pair(outcome(number, old, old, rng), outcome(number, new, old, rng)))
    return pairs, true / prompts


def measure(prompts: int, gain: float, nights: int) -> dict[str, object]:
    promoted, refused, true = 0, Counter(), 0.0
    for night in range(nights):
        pairs, gained = evidence(prompts, gain, night)
        verdict = judge(pairs, GateSettings(), seed=night, kl=0.1, resamples=RESAMPLES)
        promoted += verdict.promote
        true += gained
        refused.update(check.name for check in verdict.checks if check.passed is False)
    low, high = wilson(promoted, nights)
    return {
        "prompts": prompts,
        "gain": gain,
        "true_gain": true / nights,
        "nights": nights,
        "promoted": promoted / nights,
        "promoted_low": low,
        "promoted_high": high,
        "refused": {name: count / nights for name, count in sorted(refused.items())},
    }


def cost() -> float:
    """CPU seconds of ten thousand resamples of a thousand prompts."""
    rng = random.Random(1)
    changes = [Change(str(i), rng.choice((-0.25, 0.0, 0.0, 0.125))) for i in range(1_000)]
    started = time.process_time()
    differ(changes, seed=1)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    seconds = cost()
    print(f"{machine}; 10,000 resamples of 1,000 prompts: {seconds:.2f} s of CPU\n")
    print("| held-out prompts | gain | promoted (95 %) | refused: not better | refused: a slice |")
    print("|---|---|---|---|---|")
    rows = []
    for prompts in PROMPTS:
        for gain in GAINS:
            row = measure(prompts, gain, options.nights)
            rows.append(row)
            refused = row["refused"]
            print(
                f"| {prompts} | {100 * row['true_gain']:+.1f} pt | {row['promoted']:.0%} "
                f"({row['promoted_low']:.0%} to {row['promoted_high']:.0%}) "
                f"| {refused.get('better', 0):.0%} | {refused.get('slices', 0):.0%} |",
                flush=True,
            )
    if options.json:
        found = {"machine": machine, "resample_seconds": seconds, "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
