"""What the stop rules, the weights and the cascade answer on recorded samples, against targets.

Everything is replayed by the production code (`verivote replay`), in ten seeded orders a question,
on the rows in ../shared/data/recorded. Intervals are 95 %, by a bootstrap over questions; those of
differences are paired. Where a calibration, a threshold or weights are needed, they are fitted on
one half of the questions and used on the other, both ways. Accuracies are in per cent, differences
in points. A row that misses its target says so.

    python bench/voting.py [--data DIR] [--orders 10] [--jobs N] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not bench/, where `verifiers` is the folder of other measurements

from app.replay.processes import processes  # noqa: E402
from app.replay.rows import read_recordings  # noqa: E402
from bench.voting import rules  # noqa: E402
from bench.voting.base import Bench, Line  # noqa: E402
from bench.voting.cascade import cascade  # noqa: E402
from bench.voting.weights import weights  # noqa: E402

SECTIONS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "gsm8k": rules.gsm8k,
    "medqa": rules.medqa,
    "deep": rules.deep,
    "weak_spots": rules.weak_spots,
    "checker": rules.checker,
    "cascade": cascade,
    "kinds": rules.kinds,
    "weights": weights,
    "modes": rules.modes,
    "public": rules.public_numbers,
    "tokens": rules.tokens,
}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/recorded")
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    begun = time.perf_counter()
    machine = {"cpus": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    recordings = read_recordings([given.data])
    say(f"{sum(len(r.rows) for r in recordings)} questions of {len(recordings)} groups; {machine}")
    lines: list[Line] = []
    with processes(given.jobs) as run:
        bench = Bench(recordings, given.orders, run)
        for name in given.sections or SECTIONS:
            for line in SECTIONS[name](bench):
                mark = {True: "met ", False: "MISS", None: "    "}[line.met]
                target = f"   [{line.target}]" if line.target else ""
                say(f"{mark} {line.what} (n = {line.n}): {line.found}{target}")
                lines.append(line)
    missed = [line.what for line in lines if line.met is False]
    seconds = time.perf_counter() - begun
    say(f"{sum(line.met is True for line in lines)} targets met, {len(missed)} missed: {missed}")
    say(f"{seconds:.0f} s")
    if given.json:
        found = {
            "machine": machine,
            "orders": given.orders,
            "seconds": seconds,
            "rows": [asdict(line) for line in lines],
        }
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
