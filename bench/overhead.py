"""What the gateway adds to a request: latency against direct, CPU a request, memory.

An instant fake upstream answers in one write, so nearly all that is measured is the gateway. Direct
and gateway rounds alternate in one run on one machine; differences are taken round by round and
their interval is a bootstrap over rounds. Requests arrive on a fixed schedule (open loop), so a
slow answer does not slow down the ones behind it.

    python bench/overhead.py [--rate 50] [--rounds 12] [--seconds 5] [--json OUT]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parent.parent
BODY = orjson.dumps(
    {"model": "auto", "messages": [{"role": "user", "content": "Hello there, how are you today?"}]}
)
VOTE_BODY = orjson.dumps(
    {
        "model": "auto",
        "messages": [{"role": "user", "content": "Which city is the capital of Australia?"}],
        "verify": {
            "mode": "always",
            "verifiers": [{"use": "text", "reference": "nowhere"}],
            "n": 3,
        },
    }
)
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 2**20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Connections:
    """Keep-alive HTTP/1.1 over raw sockets: the client must cost next to nothing."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._request = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def post(self) -> float:
        """Seconds from write to the last byte. Raises when the status is not 200."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            start = time.perf_counter()
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
            length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            took = time.perf_counter() - start
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return took

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def drive(port: int, body: bytes, *, rate: float, seconds: float) -> list[float]:
    """Latencies in milliseconds of an open-loop schedule."""
    connections = Connections(port, "/v1/chat/completions", body)
    loop = asyncio.get_running_loop()
    begin = loop.time() + 0.05

    async def one(number: int) -> float:
        await asyncio.sleep(begin + number / rate - loop.time())
        return await connections.post() * 1000

    try:
        return list(await asyncio.gather(*(one(i) for i in range(int(rate * seconds)))))
    finally:
        connections.close()


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def interval(values: list[float], *, draws: int = 4000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, seeded."""
    rng = random.Random(1)
    means = sorted(statistics.fmean(rng.choices(values, k=len(values))) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


async def wait_until_up(port: int, path: str) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            head = await reader.readline()
            writer.close()
            if head:
                return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"nothing answers on port {port}")


@contextlib.asynccontextmanager
async def servers(data: str, mode: str) -> AsyncIterator[tuple[Server, Server]]:
    upstream_port, gateway_port = free_port(), free_port()
    upstream = subprocess.Popen(  # noqa: ASYNC220 — started once, before anything is measured
        [sys.executable, "tests/fakes/upstream.py", "--mode", mode, "--port", str(upstream_port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    gateway = subprocess.Popen(  # noqa: ASYNC220 — as above
        [
            sys.executable,
            "-m",
            "app",
            "serve",
            "--upstream",
            f"http://127.0.0.1:{upstream_port}/v1",
            "--port",
            str(gateway_port),
            "--data",
            data,
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await wait_until_up(upstream_port, "/v1/models")
        await wait_until_up(gateway_port, "/livez")
        yield (
            Server("direct", upstream_port, upstream),
            Server("gateway", gateway_port, gateway),
        )
    finally:
        for process in (gateway, upstream):
            process.send_signal(signal.SIGTERM)
            process.wait(20)


async def rss_with_held(count: int) -> float:
    """RSS in MB while `count` requests wait for an upstream that never answers."""
    with tempfile.TemporaryDirectory() as data:
        async with servers(data, "hold") as (_, gateway):
            connections = Connections(gateway.port, "/v1/chat/completions", BODY)
            waiting = [asyncio.create_task(connections.post()) for _ in range(count)]
            await asyncio.sleep(3)
            rss = gateway.rss_mb()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            return rss


def fdatasync_ms(times: int = 200) -> dict[str, float]:
    """What one durable write costs on this disk, which every reply waits for once."""
    took = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(times):
            file.write(bytes(8192))
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
            time.sleep(0.005)
    return {"p50": round(percentile(took, 0.5), 2), "p99": round(percentile(took, 0.99), 2)}


async def measure(args: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as data:
        async with servers(data, "instant") as (direct, gateway):
            await asyncio.sleep(2)
            idle_mb = gateway.rss_mb()
            paths = {"single": BODY, "vote of 3": VOTE_BODY}
            result: dict[str, object] = {}
            for name, body in paths.items():
                for server in (direct, gateway):
                    await drive(server.port, body, rate=args.rate, seconds=2)
                rows = []
                for number in range(args.rounds):
                    order = [direct, gateway] if number % 2 == 0 else [gateway, direct]
                    row: dict[str, float] = {}
                    for server in order:
                        cpu = server.cpu_s()
                        times = await drive(server.port, body, rate=args.rate, seconds=args.seconds)
                        row[f"{server.name}_p50"] = percentile(times, 0.5)
                        row[f"{server.name}_p99"] = percentile(times, 0.99)
                        row[f"{server.name}_cpu"] = (server.cpu_s() - cpu) * 1000 / len(times)
                    rows.append(row)
                    print(f"{name}: round {number + 1}/{args.rounds}", file=sys.stderr, end="\r")
                print(file=sys.stderr)
                result[name] = summary(rows)
    result["rss_idle_mb"] = round(idle_mb, 1)
    result["rss_200_in_flight_mb"] = round(await rss_with_held(200), 1)
    result["bare_fdatasync_ms"] = fdatasync_ms()
    result["n"] = f"{args.rounds} rounds of {int(args.rate * args.seconds)} requests each way"
    result["rate"] = args.rate
    result["machine"] = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    )
    return result


def summary(rows: list[dict[str, float]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for share in ("p50", "p99"):
        added = [row[f"gateway_{share}"] - row[f"direct_{share}"] for row in rows]
        found[f"added_{share}_ms"] = round(statistics.fmean(added), 2)
        found[f"added_{share}_ms_95"] = [round(bound, 2) for bound in interval(added)]
        found[f"direct_{share}_ms"] = round(statistics.fmean(r[f"direct_{share}"] for r in rows), 2)
    cpu = [row["gateway_cpu"] for row in rows]
    found["cpu_ms_per_request"] = round(statistics.fmean(cpu), 2)
    found["cpu_ms_per_request_95"] = [round(bound, 2) for bound in interval(cpu)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(measure(args))
    for key, value in result.items():
        if isinstance(value, dict):
            print(f"{key}:")
            for name, figure in value.items():
                print(f"  {name:<24} {figure}")
        else:
            print(f"{key:<26} {value}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
