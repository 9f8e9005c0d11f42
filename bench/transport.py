"""httpx's own transport against httpx over aiohttp's: CPU and requests a second, paired.

    python bench/transport.py [--rounds N] [--requests N] [--json FILE]

Each round sends the same requests by every client, in changing order, to an instant fake upstream
in a process of its own: JSON posts and SSE streams of 16 pieces, 48 at once. Ratios are per round,
with a bootstrap interval over rounds. `aiohttp alone` has no httpx in front: what that layer costs.
It measures the client's CPU on loopback without TLS, not the latency of a real server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import orjson
import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.engines.transport import make_client  # noqa: E402 — the checkout's own package

AT_ONCE = 48
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}
BODIES = {"json": orjson.dumps(ASKED), "sse": orjson.dumps({**ASKED, "stream": True})}
RESAMPLES = 4000

Post = Callable[[bytes], Awaitable[int]]
"""Sends a body, reads the reply to its end, returns its size in bytes."""


def by_httpx(client: httpx.AsyncClient, url: str) -> Post:
    async def post(body: bytes) -> int:
        request = client.build_request("POST", url, content=body, headers=HEADERS)
        response = await client.send(request, stream=True)
        try:
            return sum([len(chunk) async for chunk in response.aiter_bytes()])
        finally:
            await response.aclose()

    return post


def by_aiohttp(session: aiohttp.ClientSession, url: str) -> Post:
    async def post(body: bytes) -> int:
        async with session.post(url, data=body, headers=HEADERS) as response:
            return sum([len(chunk) async for chunk in response.content.iter_any()])

    return post


async def measure(post: Post, body: bytes, requests: int) -> dict[str, float]:
    """CPU of this process in ms a request, and requests a second."""
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            if await post(body) == 0:
                raise RuntimeError("the fake upstream sent an empty reply")

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    cpu_ms = (time.process_time() - cpu) * 1000 / requests
    return {"cpu_ms": cpu_ms, "rps": requests / (time.perf_counter() - started)}


async def run(url: str, rounds: int, requests: int) -> list[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
        own = await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=None))
        over = await stack.enter_async_context(make_client(connect_s=2.0))
        alone = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        clients = {
            "httpx": by_httpx(own, url),
            "httpx over aiohttp": by_httpx(over, url),
            "aiohttp alone": by_aiohttp(alone, url),
        }
        for post in clients.values():
            for body in BODIES.values():
                await measure(post, body, AT_ONCE * 2)
        rows: list[dict[str, Any]] = []
        order = list(clients)
        for number in range(rounds):
            random.Random(number).shuffle(order)
            for kind, body in BODIES.items():
                for name in order:
                    found = await measure(clients[name], body, requests)
                    rows.append({"round": number, "kind": kind, "client": name, **found})
            sys.stderr.write(f"\rround {number + 1} of {rounds}")
        sys.stderr.write("\n")
        return rows


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per kind and client: medians, and the ratio to httpx's own transport."""
    lines: list[dict[str, Any]] = []
    for kind in BODIES:
        base = series(rows, kind, "httpx", "cpu_ms")
        base_rps = series(rows, kind, "httpx", "rps")
        for name in dict.fromkeys(row["client"] for row in rows):
            cpu, rps = series(rows, kind, name, "cpu_ms"), series(rows, kind, name, "rps")
            lines.append(
                {
                    "kind": kind,
                    "client": name,
                    "cpu_ms": statistics.median(cpu),
                    "rps": statistics.median(rps),
                    "cpu_less": interval([a / b for a, b in zip(base, cpu, strict=True)]),
                    "rps_more": interval([b / a for a, b in zip(base_rps, rps, strict=True)]),
                }
            )
    return sorted(lines, key=lambda line: (line["kind"], -line["cpu_ms"]))


def series(rows: Sequence[dict[str, Any]], kind: str, client: str, what: str) -> list[float]:
    chosen = [row for row in rows if row["kind"] == kind and row["client"] == client]
    return [row[what] for row in sorted(chosen, key=lambda row: row["round"])]


def interval(ratios: Sequence[float]) -> dict[str, float]:
    """Median ratio with its 95 % bootstrap interval over rounds."""
    rng = random.Random(0)
    medians = sorted(
        statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    low, high = medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)]
    return {"median": statistics.median(ratios), "low": low, "high": high}


def machine() -> str:
    """Processor, cores and Python; no name or path of the machine."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, uvloop"


def table(lines: Sequence[dict[str, Any]]) -> str:
    head = f"{'':6}{'client':20}{'CPU ms':>8}{'req/s':>8}   CPU less by        req/s more by"
    shown = [head]
    for line in lines:
        less, more = line["cpu_less"], line["rps_more"]
        shown.append(
            f"{line['kind']:6}{line['client']:20}{line['cpu_ms']:8.3f}{line['rps']:8.0f}   "
            f"{less['median']:.2f} ({less['low']:.2f}–{less['high']:.2f})   "
            f"{more['median']:.2f} ({more['low']:.2f}–{more['high']:.2f})"
        )
    return "\n".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=480, help="per client, kind and round")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    given = parser.parse_args()
    upstream = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/fakes/upstream.py"), "--mode", "instant"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert upstream.stdout is not None
        url = upstream.stdout.readline().strip() + "/chat/completions"
        rows = uvloop.run(run(url, given.rounds, given.requests))
    finally:
        upstream.terminate()
        upstream.wait()
    lines = summarise(rows)
    about = {
        "machine": machine(),
        "rounds": given.rounds,
        "requests": given.requests,
        "at_once": AT_ONCE,
        "versions": {name: version(name) for name in ("httpx", "httpx-aiohttp", "aiohttp")},
    }
    head = f"{given.rounds} rounds × {given.requests} requests, {AT_ONCE} at once"
    sys.stdout.write(f"{about['machine']}\n{head}\n{table(lines)}\n")
    if given.json is not None:
        given.json.write_text(json.dumps({**about, "summary": lines, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
