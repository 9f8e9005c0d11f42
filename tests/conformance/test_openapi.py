"""schemathesis on our own openapi.json: what the gateway says of itself is what it does."""

from __future__ import annotations

import sys

import httpx

from tests.cli.command import environment, serving
from tests.cli.upstreams import fake_upstream

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 50


def test_no_server_error_and_no_schema_breach(run_suite, tmp_path):
    with (
        fake_upstream("scripted") as upstream,
        serving("--upstream", upstream, "--port", "0", "--data", str(tmp_path)) as (_, line),
    ):
        url = line.split(" serves ")[1].split("/v1")[0]
        paths = httpx.get(f"{url}/openapi.json").json()["paths"]
        count = sum(len(operations) for operations in paths.values())
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
        command += ["--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES)]
        command += ["--continue-on-failure", "--no-shrink", "--seed", "1"]

        output = run_suite(command, cwd=tmp_path, env=environment())

    assert f"Tested: {count}\n" in output
