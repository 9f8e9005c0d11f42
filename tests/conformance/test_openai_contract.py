"""OpenAI's own contract tests, from its sdist, against a gateway on the small real model."""

from __future__ import annotations

import re

import pytest

from tests.cli.command import environment
from tests.parts import BUILD, require

SUITE = BUILD / "contract" / "openai-3.57.0"


@pytest.mark.parametrize(
    ("file", "selected", "tests"),
    [
        ("tests/api_resources/chat/test_completions.py", "create", 40),
        ("tests/api_resources/test_models.py", "list or retrieve", 35),
    ],
)
def test_openais_contract_tests_pass(client_python, run_suite, embedded_url, file, selected, tests):
    require(SUITE.exists(), f"{SUITE} is missing: run make test-conformance")
    command = [client_python("contract"), "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider"]

    output = run_suite(
        [*command, file, "-k", selected],
        cwd=SUITE,
        env=environment(TEST_API_BASE_URL=f"{embedded_url}/v1"),
    )

    passed = re.search(r"(\d+) passed", output)
    assert passed is not None, output
    assert tests == int(passed[1])
