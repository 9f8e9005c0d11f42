from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.parts import ROOT
from tools.venv import explain

SCRIPT = ROOT / "tools/venv.py"


def make(folder, *steps: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, folder, *steps],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        (
            "NewConnectionError('…: [Errno 111] Connection refused')\n"
            "ERROR: No matching distribution found for fastapi",
            "the package index cannot be reached",
        ),
        ("Temporary failure in name resolution", "the package index cannot be reached"),
        (
            "ERROR: Could not find a version that satisfies xllamacpp",
            "the package index has no build of a pinned package for this Python and machine",
        ),
        ("PermissionError: [Errno 13] Permission denied: '.venv'", "a file may not be written"),
        ("something nobody has seen yet", "pip failed"),
    ],
)
def test_what_pip_printed_is_explained(output, why):
    assert explain(output)[0] == why


def test_a_step_that_fails_is_named_with_its_cause_and_no_traceback(tmp_path):
    done = make(
        tmp_path / "v", "--step", "install the impossible", "no-such-thing", PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
    )  # fmt: skip

    assert done.returncode == 1
    assert "This step is impossible here — install the impossible: the package index" in done.stderr
    assert f"log: {tmp_path / 'v' / 'install.log'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_that_was_left_half_made_is_made_anew(tmp_path):
    folder = tmp_path / "v"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("")

    done = make(folder)

    assert (done.returncode, done.stderr) == (0, "make the virtual environment\n")
    assert (folder / "bin" / "pip").exists()


def test_a_folder_that_cannot_be_made_is_a_step_that_fails(tmp_path):
    (tmp_path / "file").write_text("")

    done = make(tmp_path / "file" / "v")

    assert done.returncode == 1
    assert "virtual environment: " in done.stderr
    assert "Traceback" not in done.stderr
