"""Every measurement of the verifiers in one table: bench/verifiers/*.py, each with its target.

    python bench/verifiers.py [NAME …] [--limit N] [--json OUT]

A row says n, what was found, its interval and the target; every miss is listed below the table. The
exit code is 1 when a measurement could not be made. Public data are read from ../shared/data.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not bench/, where `verifiers` is the folder of the measurements

FOLDER = Path(__file__).with_suffix("")
KNOWN = ("what", "target", "n", "agreement", "interval", "misses")
SHOWN_MISSES = 40


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "__init__")


def measure(name: str, limit: int | None) -> dict[str, Any]:
    """What one file measured, or why it could not."""
    begun = time.perf_counter()
    try:
        module = importlib.import_module(f"bench.verifiers.{name}")
        rows = module.run(limit)["rows"]
    except Exception as failed:
        traceback.print_exc()
        rows = [{"what": name, "target": "", "n": 0, "failed": repr(failed)[:200]}]
    return {"name": name, "rows": rows, "seconds": round(time.perf_counter() - begun, 1)}


def machine() -> dict[str, Any]:
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "user": "root" if os.geteuid() == 0 else "a plain user",
    }


def print_table(results: list[dict[str, Any]]) -> None:
    lines = [("what", "target", "n", "found", "95 % or range", "misses")]
    for result in results:
        lines += [_cells(row) for row in result["rows"]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    interval = row.get("interval")
    return (
        str(row["what"]),
        str(row.get("target", "")),
        str(row.get("n", "")),
        _found(row),
        " to ".join(f"{bound:g}" for bound in interval) if interval else "",
        str(len(row.get("misses", ()))),
    )


def _found(row: dict[str, Any]) -> str:
    """The agreement, then every other number of the row by its name."""
    said = [f"{row['agreement']:.2%}"] if row.get("agreement") is not None else []
    for key, value in row.items():
        if key not in KNOWN and isinstance(value, int | float | str):
            said.append(f"{key} {value}")
    return ", ".join(said)


def print_misses(results: list[dict[str, Any]]) -> None:
    for result in results:
        for row in result["rows"]:
            misses = row.get("misses", ())
            if misses:
                say(f"\n{row['what']}: {len(misses)} misses")
            for miss in misses[:SHOWN_MISSES]:
                say(f"  {json.dumps(miss, ensure_ascii=False)[:300]}")
            if len(misses) > SHOWN_MISSES:
                say(f"  and {len(misses) - SHOWN_MISSES} more (--json has all)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names())}")
    parser.add_argument("--limit", type=int, help="only the first N records of each data set")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write everything here")
    wanted = parser.parse_args()
    unknown = sorted(set(wanted.names) - set(names()))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(names())}")
    on = machine()
    results = []
    for name in wanted.names or names():
        sys.stderr.write(f"measuring {name} …\n")
        results.append(measure(name, wanted.limit))
    say(", ".join(f"{key} {value}" for key, value in on.items()) + "\n")
    print_table(results)
    print_misses(results)
    if wanted.json is not None:
        told = {"machine": on, "limit": wanted.limit, "results": results}
        wanted.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 1 if any("failed" in row for result in results for row in result["rows"]) else 0


if __name__ == "__main__":
    raise SystemExit(main())
