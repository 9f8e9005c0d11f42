"""LangChain's own standard tests, against a gateway on the small real model."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.command import environment

SUITE = Path(__file__).with_name("langchain_suite.py")
LOOP = "asyncio_default_{}_loop_scope=session"


def test_langchains_standard_tests_pass(client_python, run_suite, embedded_url, tmp_path):
    command = [client_python("langchain"), "-m", "pytest", SUITE, "-q", "-p", "no:cacheprovider"]
    command += ["-c", "/dev/null", "-o", "asyncio_mode=auto"]
    command += ["-o", LOOP.format("test"), "-o", LOOP.format("fixture")]

    output = run_suite(command, cwd=tmp_path, env=environment(GATEWAY_URL=embedded_url))

    passed = re.search(r"(\d+) passed", output)
    assert passed is not None, output
