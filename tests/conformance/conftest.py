"""Other people's suites and clients, each in an environment of its own under .build/."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.cli.command import serving
from tests.parts import BUILD, require

PATIENT = {
    "VERIVOTE__DEFAULTS__DEADLINE_MS": "600000",
    "VERIVOTE__ENGINES__MAIN__FIRST_BYTE_S": "600",
    "VERIVOTE__ENGINES__MAIN__IDLE_S": "600",
    "VERIVOTE__ENGINES__MAIN__REQUEST_S": "600",
}
"""These suites say whether, not how fast: a busy machine must not fail them."""


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address, without `/v1`, of `verivote serve --embedded`: the small real model."""
    data = tmp_path_factory.mktemp("embedded")
    with serving("--embedded", "--port", "0", "--data", str(data), **PATIENT) as (_, line):
        yield line.split(" serves ")[1].split("/v1")[0]


@pytest.fixture(scope="session")
def client_python() -> Callable[[str], Path]:
    """The interpreter of a client's environment, or the test says how to make it."""

    def find(name: str) -> Path:
        python = BUILD / name / "bin" / "python"
        require(python.exists(), f"{python} is missing: run make test-conformance")
        return python

    return find


@pytest.fixture(scope="session")
def run_suite() -> Callable[..., str]:
    """Run a suite; its last lines are the failure message. Gives its standard output."""

    def run(command: list[str | Path], *, cwd: Path, env: Mapping[str, str]) -> str:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            tail = (done.stdout + done.stderr).splitlines()[-60:]
            pytest.fail("\n".join([" ".join(map(str, command)), *tail]), pytrace=False)
        return done.stdout

    return run
