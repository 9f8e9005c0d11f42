"""A real gateway on a free port, in a thread of the test's own process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings, load_settings


@dataclass(frozen=True)
class RunningGateway:
    url: str
    """`http://127.0.0.1:<port>`, without `/v1`."""
    application: FastAPI
    settings: Settings


def settings_for(data: Path, upstream: str | None, **sections: Mapping[str, Any]) -> Settings:
    """Settings of a gateway in front of `upstream` (up to `/v1`), or of the small model if None.

    `sections` are merged over them: `server={"keys": "required"}`.
    """
    main = {"kind": "embedded"} if upstream is None else {"base_url": upstream}
    flags = {"data": data, "engines": {"main": main}}
    engines = {**flags["engines"], **sections.pop("engines", {})}
    return load_settings(environ={}, flags={**flags, **sections, "engines": engines})


@contextmanager
def running_gateway(settings: Settings) -> Iterator[RunningGateway]:
    """Serve `create_app(settings)` until the block ends; open requests get five seconds."""
    application = create_app(settings)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        config = uvicorn.Config(
            application, http="httptools", log_config=None, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="gateway")
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise RuntimeError("the gateway did not start; its log says why")
                time.sleep(0.01)
            yield RunningGateway(
                f"http://127.0.0.1:{listening.getsockname()[1]}", application, settings
            )
        finally:
            server.should_exit = True
            thread.join()
