"""Logs and spans of this process.

Logs go to standard error: plain lines for a terminal, one JSON object a line otherwise. Spans leave
the process only when `telemetry.otlp_endpoint` is set; without it `tracer()` gives OpenTelemetry's
own no-op, so callers never ask. This module puts no content of requests anywhere.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from opentelemetry import trace

from app import __version__
from app.settings import TelemetrySettings


def setup_logging(stream: TextIO | None = None) -> None:
    """Send all logs of level INFO and above to `stream` (standard error)."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainLines() if stream.isatty() else JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # httpx reports every call at INFO and uvicorn its own life cycle, which `serve` tells better.
    for noisy in ("httpx", "httpcore", "uvicorn", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class PlainLines(logging.Formatter):
    """`12:00:01 WARNING app.store: the database is away`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")


class JsonLines(logging.Formatter):
    """One JSON object a line; what was passed as `extra={"fields": {…}}` becomes keys."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["otel_trace_id"] = trace.format_trace_id(span.trace_id)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def setup_tracing(settings: TelemetrySettings) -> Callable[[], None]:
    """Export spans to the collector in the settings; the returned function flushes and stops."""
    if not settings.otlp_endpoint:
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "verivote", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    endpoint = settings.otlp_endpoint.rstrip("/").removesuffix("/v1/traces") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def tracer() -> trace.Tracer:
    """The tracer for this product's spans."""
    return trace.get_tracer("verivote", __version__)
