"""What a client gets when the grace period of a shutdown is over."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from pathlib import Path

import httpx
import pytest
import uvicorn

from app.main import create_app
from tests.fakes.upstream import FakeUpstream, holding
from tests.running import settings_for

BODY = {
    "model": "auto",
    "messages": [{"role": "user", "content": "What is 19 + 23?"}],
    "verify": {"mode": "always"},
}


async def test_who_still_waits_is_told_in_openais_form(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeUpstream(holding()) as fake:
        application = create_app(settings_for(tmp_path, fake.url))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            config = uvicorn.Config(
                application, http="httptools", log_config=None, timeout_graceful_shutdown=1
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve([listening]))
            assert await fake.until(lambda: server.started)
            async with httpx.AsyncClient(base_url=url, timeout=10) as client:
                path = "/v1/chat/completions"
                asking = [
                    asyncio.create_task(client.post(path, json={**BODY, "stream": stream}))
                    for stream in (False, True)
                ]
                admission = application.state.admission
                assert await fake.until(lambda: admission.inflight == 2)
                server.should_exit = True
                whole, stream = await asyncio.gather(*asking)
            await serving

    last = stream.text.strip().split("\n\n")[-1].removeprefix("data: ")
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "server_is_overloaded")
    assert json.loads(last)["error"]["code"] == "server_is_overloaded"
    assert [r for r in caplog.records if r.exc_info and r.levelno >= logging.ERROR] == []
