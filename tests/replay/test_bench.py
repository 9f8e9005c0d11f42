"""The table of targets can be made."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.parts import ROOT, require

RECORDED = ROOT.parent / "shared/data/recorded"


def test_a_section_prints_its_rows_against_their_targets_and_writes_json(tmp_path):
    require(RECORDED.is_dir(), "the recorded samples are not beside this")
    (tmp_path / "samples_game24.jsonl.gz").symlink_to(RECORDED / "samples_game24.jsonl.gz")
    out = tmp_path / "out.json"
    command = [sys.executable, str(ROOT / "bench/voting.py"), "checker"]
    options = ["--data", str(tmp_path), "--orders", "1", "--jobs", "1", "--json", str(out)]

    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")
    assert "2 targets met, 0 missed" in done.stdout
    assert [row["met"] for row in json.loads(out.read_text())["rows"]] == [True, True]
