from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.settings import TelemetrySettings
from app.telemetry import JsonLines, setup_tracing
from tests.cli.command import environment

ONE_SPAN = """
import sys
from app.settings import TelemetrySettings
from app.telemetry import setup_tracing, tracer
stop = setup_tracing(TelemetrySettings(otlp_endpoint=sys.argv[1]))
with tracer().start_as_current_span("invoke_workflow verify-and-vote"):
    pass
stop()
"""


@pytest.fixture
def line():
    """What a record becomes."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("verivote.test")
    logger.addHandler(handler)

    def log(*arguments: object, **more: object) -> dict[str, object]:
        logger.warning(*arguments, **more)
        return json.loads(out.getvalue())

    return log


def test_a_log_line_is_one_json_object(line):
    found = line("trace %s\nwas not stored", "chatcmpl-1", extra={"fields": {"spool_depth": 3}})

    assert found["message"] == "trace chatcmpl-1\nwas not stored"
    assert (found["level"], found["logger"]) == ("warning", "verivote.test")
    assert found["spool_depth"] == 3


def test_a_logged_error_is_inside_its_line(line):
    try:
        raise ValueError("bad")
    except ValueError:
        found = line("failed", exc_info=True)

    assert "ValueError: bad" in found["error"]


def test_without_an_endpoint_nothing_is_set_up():
    assert setup_tracing(TelemetrySettings())() is None


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_spans_reach_the_collector(path):
    """In a process of its own: OpenTelemetry's provider can be set once a process."""
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}{path}"
        done = subprocess.run(
            [sys.executable, "-c", ONE_SPAN, url], env=environment(), capture_output=True, text=True
        )
        server.shutdown()
        thread.join()

    assert done.returncode == 0, done.stderr
    assert [path for path, _ in received] == ["/v1/traces"]
    assert b"invoke_workflow verify-and-vote" in received[0][1]
