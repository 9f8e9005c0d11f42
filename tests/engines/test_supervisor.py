"""A server that crashes, is slow, deaf or stubborn, started and ended by the real supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.engines.supervisor import (
    KEEPER,
    Launch,
    Patience,
    Supervisor,
    free_port,
    telling_line,
)
from app.errors import EngineError
from tests.fakes.vllm import FakeVLLM, is_alive, wait_until

LIMIT_S = 30.0


@pytest.fixture
def fake(tmp_path: Path) -> FakeVLLM:
    return FakeVLLM(tmp_path)


def patience(**changes: float) -> Patience:
    quick = {"start_s": LIMIT_S, "poll_s": 0.02, "watch_s": 0.05, "grace_s": 5.0}
    return Patience(**{**quick, "backoff_s": 0.01, "launches": 3, **changes})


@asynccontextmanager
async def supervised(
    fake: FakeVLLM,
    *,
    pick_port: Callable[[], int] | None = None,
    on_healthy: Callable[[int], Any] | None = None,
    **changes: float,
) -> AsyncIterator[Supervisor]:
    def launch(port: int) -> Launch:
        module = "vllm.entrypoints.openai.api_server"
        options = ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)]
        return Launch(
            command=[fake.python, "-m", module, *options],
            environment={**os.environ, "VLLM_API_KEY": "k"},
        )

    async def is_healthy(port: int) -> bool | None:
        try:
            async with httpx.AsyncClient(timeout=1.0) as client:
                reply = await client.get(f"http://127.0.0.1:{port}/health")
        except httpx.TransportError:
            return None
        return reply.status_code == 200

    async def nothing(port: int) -> None: ...

    supervisor = Supervisor(
        "main",
        launch=launch,
        is_healthy=is_healthy,
        on_healthy=on_healthy or nothing,
        folder=fake.folder / "data",
        log_name="vllm.log",
        patience=patience(**changes),
        pick_port=pick_port,
    )
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.close()


async def until(supervisor: Supervisor, state: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while supervisor.state.state != state:  # noqa: ASYNC110 - another process comes up
            await asyncio.sleep(0.01)


async def until_restarted(supervisor: Supervisor) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not (supervisor.state.restarts and supervisor.state.state == "ready"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_gateway_does_not_wait_for_a_slow_server(fake: FakeVLLM) -> None:
    fake.order("slow")
    async with supervised(fake) as supervisor:
        at_once = supervisor.state
        await until(supervisor, "ready")
        pid = supervisor.pid

    assert at_once.state == "starting"
    assert supervisor.state.state == "stopped"
    assert pid is not None
    assert not is_alive(pid)
    assert len(fake.launches) == 1


async def test_a_server_that_crashes_at_its_start_is_started_again(fake: FakeVLLM) -> None:
    fake.order("crash", "crash", "")
    async with supervised(fake) as supervisor:
        await until(supervisor, "ready")

    assert len(fake.launches) == 3
    assert supervisor.state.restarts == 2


async def test_one_that_keeps_crashing_has_failed_and_its_last_words_are_kept(
    fake: FakeVLLM, caplog: pytest.LogCaptureFixture
) -> None:
    fake.order("crash")
    async with supervised(fake) as supervisor:
        await until(supervisor, "failed")
        state = supervisor.state

    assert len(fake.launches) == 3
    assert state.why == (
        "failed 3 times in a row and is tried again every 600 s; at last it ended with 1: "
        "ValueError: no memory for the cache of the model"
    )
    assert "Engine core initialization failed" in caplog.text
    assert "vllm.log" in caplog.text


async def test_a_failed_one_is_tried_again_and_serves_once_it_can(
    fake: FakeVLLM, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as failed until it is ready: nobody is told to wait for a launch that may fail."""
    fake.order("crash", "crash", "crash", "crash", "")
    async with supervised(fake, launches=2, retry_s=0.05) as supervisor:
        await until(supervisor, "failed")
        async with asyncio.timeout(LIMIT_S):
            while supervisor.state.state == "failed":  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        seen = supervisor.state

    assert (seen.state, seen.restarts) == ("ready", 4)
    assert len(fake.launches) == 5
    assert caplog.text.count("its server is tried again") == 3
    assert "failed 4 times in a row" in caplog.text


async def test_a_gateway_that_ends_does_not_wait_for_a_failed_server(fake: FakeVLLM) -> None:
    fake.order("crash")
    async with supervised(fake, launches=1) as supervisor:
        await until(supervisor, "failed")

    assert supervisor.state.state == "stopped"
    assert len(fake.launches) == 1


async def test_a_server_that_is_killed_is_started_again(fake: FakeVLLM) -> None:
    async with supervised(fake) as supervisor:
        await until(supervisor, "ready")
        first = supervisor.pid
        os.kill(first, signal.SIGKILL)
        await until_restarted(supervisor)
        second, why = supervisor.pid, supervisor.state.why

    assert first != second
    assert "was killed by signal 9" in why
    assert len(fake.launches) == 2


async def test_what_a_killed_server_left_behind_is_ended_before_the_next(fake: FakeVLLM) -> None:
    """The process with the weights may outlive the one that was killed, and hold the memory."""
    fake.order("child", "")
    async with supervised(fake) as supervisor:
        await until(supervisor, "ready")
        os.kill(supervisor.pid, signal.SIGKILL)
        await until_restarted(supervisor)

        assert not is_alive(fake.launches[0]["child"])


async def test_one_that_was_steady_may_crash_again_and_again(fake: FakeVLLM) -> None:
    """Two crashes in a row would be one too many, were it not for the time between them."""
    async with supervised(fake, launches=2, steady_s=0.0) as supervisor:
        for restarts in (1, 2, 3):
            await until(supervisor, "ready")
            os.kill(supervisor.pid, signal.SIGKILL)
            async with asyncio.timeout(LIMIT_S):
                while supervisor.state.restarts < restarts:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await until(supervisor, "ready")

    assert len(fake.launches) == 4


@pytest.mark.parametrize("order", ["deaf", "sick"])
async def test_one_that_never_gets_healthy_is_ended_and_has_failed(
    fake: FakeVLLM, order: str
) -> None:
    fake.order(order)
    async with supervised(fake, start_s=0.7, launches=2) as supervisor:
        await until(supervisor, "failed")
        why = supervisor.state.why

    assert "was not ready within 0.7 s" in why
    assert len(fake.launches) == 2
    assert not any(is_alive(launch["pid"]) for launch in fake.launches)


async def test_one_that_says_that_it_is_not_well_any_more_is_replaced(fake: FakeVLLM) -> None:
    async with supervised(fake) as supervisor:
        await until(supervisor, "ready")
        (fake.folder / "sick").touch()
        await until(supervisor, "starting")
        why = supervisor.state.why
        (fake.folder / "sick").unlink()
        await until_restarted(supervisor)

    assert why == "said 3 times that it is not healthy"


async def test_a_port_that_somebody_took_is_not_tried_again(fake: FakeVLLM) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1]])
        async with supervised(fake, pick_port=lambda: next(ports, None) or free_port()) as one:
            # The other's socket is open and silent: no answer is no health.
            await until(one, "ready")
            why = one.state.why

    assert "Address already in use" in why
    assert len(fake.launches) == 2


async def test_one_that_ignores_sigterm_is_killed_when_the_grace_is_over(fake: FakeVLLM) -> None:
    fake.order("stubborn child")
    async with supervised(fake, grace_s=0.3) as supervisor:
        await until(supervisor, "ready")
    told = fake.launches[0]

    assert not is_alive(told["pid"])
    assert not is_alive(told["child"])


async def test_a_server_that_cannot_be_prepared_is_started_anew(fake: FakeVLLM) -> None:
    ports: list[int] = []

    async def refuse_once(port: int) -> None:
        ports.append(port)
        if len(ports) == 1:
            raise EngineError("its model is not there")

    async with supervised(fake, on_healthy=refuse_once) as supervisor:
        await until(supervisor, "ready")
        why = supervisor.state.why

    assert "was not ready: its model is not there" in why
    assert len(ports) == 2


async def test_no_fault_of_the_gateways_own_leaves_it_starting_for_ever(fake: FakeVLLM) -> None:
    def none_is_free() -> int:
        raise OSError("no port is free")

    async with supervised(fake, pick_port=none_is_free) as supervisor:
        await until(supervisor, "failed")
        why = supervisor.state.why

    assert "cannot be run: no port is free" in why
    assert fake.launches == []


async def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async def never(port: int) -> bool | None:
        return None

    async def nothing(port: int) -> None: ...

    supervisor = Supervisor(
        "main",
        launch=lambda port: Launch(command=["/no/such/python"], environment={}),
        is_healthy=never,
        on_healthy=nothing,
        folder=tmp_path,
        log_name="vllm.log",
        patience=patience(launches=1),
    )
    await supervisor.start()
    await until(supervisor, "failed")
    await supervisor.close()

    assert "cannot be started: /no/such/python: No such file" in supervisor.state.why


@pytest.fixture
def kept(fake: FakeVLLM) -> Iterator[tuple[subprocess.Popen[bytes], int, FakeVLLM]]:
    """A keeper as the gateway starts it, with a stubborn server that has a child."""
    fake.order("stubborn child")
    options = ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(free_port())]
    job = {
        "command": [fake.python, "-m", "vllm.entrypoints.openai.api_server", *options],
        "environment": {**os.environ, "VLLM_API_KEY": "k"},
        "folder": str(fake.folder),
        "log": str(fake.folder / "vllm.log"),
        "grace_s": 0.2,
    }
    keeper = subprocess.Popen(
        [sys.executable, "-I", str(KEEPER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    keeper.stdin.write(json.dumps(job).encode() + b"\n")
    keeper.stdin.flush()
    pid = json.loads(keeper.stdout.readline())["pid"]
    assert wait_until(lambda: bool(fake.launches))
    yield keeper, pid, fake
    keeper.kill()
    for pipe in (keeper.stdin, keeper.stdout):
        pipe.close()
    keeper.wait()


def test_when_the_gateway_is_gone_the_server_and_its_children_go(kept: Any) -> None:
    """The kernel closes a dead gateway's end of the pipe, however it died."""
    keeper, pid, fake = kept
    keeper.stdin.close()

    assert wait_until(lambda: not is_alive(pid))
    assert wait_until(lambda: not is_alive(fake.launches[0]["child"]))
    assert keeper.wait(LIMIT_S) == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_when_even_the_keeper_is_killed_the_server_goes(kept: Any) -> None:
    keeper, pid, fake = kept
    keeper.kill()

    assert wait_until(lambda: not is_alive(pid))
    os.kill(fake.launches[0]["child"], signal.SIGKILL)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a", "ValueError: x", "RuntimeError: See root cause above."], "ValueError: x"),
        (["(pid=7) ERROR torch.OutOfMemoryError: y"], "torch.OutOfMemoryError: y"),
        (["starting", "Killed"], "Killed"),
        ([], ""),
    ],
)
def test_the_line_that_names_the_error_is_told(lines: list[str], told: str) -> None:
    assert telling_line(lines) == told
