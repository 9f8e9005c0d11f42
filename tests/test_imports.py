from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import ROOT

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT, "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_imports_point_down():
    done = lint(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("verifiers/bad.py", "import app.errors", "Imports point down"),
        ("app/voting/bad.py", "import app.routing", "Imports point down"),
        ("app/voting/bad.py", "import httpx", "database, client or model"),
        ("app/cache/bad.py", "import app.api", "Imports point down"),
        ("app/bad.py", "import litellm", "No dependency on litellm"),
    ],
)
def test_an_import_that_points_up_is_found(tmp_path, module, line, broken):
    for name in ("app", "verifiers"):
        for source in (ROOT / name).rglob("*.py"):
            copy = tmp_path / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / module).write_text(line + "\n")

    done = lint(tmp_path)

    assert done.returncode == 1
    assert f"{broken} BROKEN" in " ".join(done.stdout.split())
