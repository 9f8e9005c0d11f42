"""The measurement of real nights runs: from users' prompts on a real vLLM to a compared adapter.

Far too small to get better by: bench/results/real_night.json has what whole nights came to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.command import environment
from tests.parts import ROOT, require
from tests.vllm.conftest import FOLDER
from tests.vllm.server import is_set_up

pytestmark = pytest.mark.vllm

SMALL = ("--seeds", "3", "--nights", "1", "--asked", "30", "--held-out", "10", "--users", "5")


def test_a_night_on_a_real_vllm_trains_loads_and_compares_an_adapter(tmp_path: Path) -> None:
    require(is_set_up(FOLDER), "there is no vLLM in .build/vllm: python tests/vllm/setup_vllm.py")
    require(find_spec("torch"), "torch is not installed: make test-train")
    out = tmp_path / "out.json"
    command = [sys.executable, str(ROOT / "bench/real_night.py"), *SMALL, "--groups", "8"]

    done = subprocess.run(
        [*command, "--keep", str(tmp_path), "--json", str(out)],
        env=environment(),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = json.loads(out.read_text())["seeds"]
    (night,) = found["nights"]
    assert night["status"] in ("promoted", "refused"), night["reason"]
    assert night["metrics"]["pass_at_1"]["prompts"] == 10
    assert (night["selection"]["groups"], night["training"]["steps"]) == (8, 2)
    assert {"select", "train", "load", "evaluate", "gate"} <= set(night["phases"])
    # What the server said of its samples is what the trainer makes of them.
    assert found["mu"]["float32"]["mean_abs"] < 0.1
    assert night["training"]["canary"]["mean"] < 0.1
    assert sum(day["prompts"] for day in found["days"]) == 30
