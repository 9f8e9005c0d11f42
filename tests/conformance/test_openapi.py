"""schemathesis on our own openapi.json: what the gateway says of itself is what it does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.command import environment, serving
from tests.parts import ROOT

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 50


@contextmanager
def fake_upstream() -> Iterator[str]:
    """A model server that answers at once; its address up to `/v1`."""
    command = [sys.executable, str(ROOT / "tests/fakes/upstream.py"), "--mode", "scripted"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


def test_no_server_error_and_no_schema_breach(run_suite, tmp_path):
    with (
        fake_upstream() as upstream,
        serving("--upstream", upstream, "--port", "0", "--data", str(tmp_path)) as (_, line),
    ):
        url = line.split(" serves ")[1].split("/v1")[0]
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
        command += ["--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES)]
        command += ["--continue-on-failure", "--no-shrink", "--request-timeout", "30"]

        output = run_suite(command, cwd=tmp_path, env=environment())

    assert "POST /v1/chat/completions" in output
