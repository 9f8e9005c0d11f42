"""The table of measurements: it can be printed, and a measurement that breaks is no success."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.parts import ROOT, require

DATA = ROOT.parent / "shared/data"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench/verifiers.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_measurement_prints_its_row_and_writes_json(tmp_path):
    require((DATA / "json_schema_suite").is_dir(), "the public data sets are not beside this")
    out = tmp_path / "out.json"

    done = bench("json_schema", "--limit", "50", "--json", str(out))

    assert done.returncode == 0, done.stderr
    assert "JSON-Schema suite" in done.stdout
    (row,) = json.loads(out.read_text())["results"][0]["rows"]
    assert (row["n"], row["right"], row["misses"]) == (50, 50, [])


def test_the_bombs_do_not_pass(tmp_path):
    out = tmp_path / "out.json"

    done = bench("bombs", "--limit", "6", "--json", str(out))

    (row,) = json.loads(out.read_text())["results"][0]["rows"]
    assert (done.returncode, row["n"], row["misses"]) == (0, 6, [])


def test_an_unknown_measurement_is_a_usage_error():
    assert bench("nothing").returncode == 2
