"""LangChain's own standard tests, against a gateway on the small real model."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.command import environment
from tests.parts import ROOT

SUITE = Path(__file__).with_name("langchain_suite.py")
LOOP = "asyncio_default_{}_loop_scope=session"


def left_out() -> dict[str, str]:
    """Name of each test that is left out, and why."""
    lines = Path(__file__).with_name("left_out.txt").read_text().splitlines()
    return dict(line.split(" | ", 1) for line in lines if not line.startswith("#"))


def test_langchains_standard_tests_pass(client_python, run_suite, embedded_url, tmp_path):
    command = [client_python("langchain"), "-m", "pytest", SUITE, "-q", "-p", "no:cacheprovider"]
    command += ["-c", "/dev/null", "--noconftest", "-o", "asyncio_mode=auto"]
    command += ["-o", LOOP.format("test"), "-o", LOOP.format("fixture")]
    command += ["-k", " and ".join(f"not {name}" for name in left_out())]

    output = run_suite(command, cwd=tmp_path, env=environment(GATEWAY_URL=embedded_url))

    passed = re.search(r"(\d+) passed", output)
    assert passed is not None, output
    assert int(passed[1]) == 28


def test_what_is_left_out_is_said_in_the_docs():
    page = (ROOT / "docs/clients.md").read_text(encoding="utf-8")

    assert [name for name in left_out() if f"`{name}`" not in page] == []
