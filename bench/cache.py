"""The cache, measured: never drawn twice, never the wrong answer, and what a hit costs.

    python bench/cache.py [--only flights,near,latency] [--runs 5] [--prompts 1000] [--json OUT]

Whole gateway processes (`verivote serve`) in front of a fake model server and one real Redis.

flights: 100 equal requests over two gateways at once; in half of the runs the gateway that draws is
killed (-9) in the middle, and its clients ask the other one again.
near: prompts of GSM8K, ASDiv and MATH-500 are answered and cached; then planted near-duplicates are
asked, with the *old* reference, so that the verifier would pass the old answer and only the keys,
or the guard of near reuse, stand against a wrong hit; and harmless variants, for the hit rate.
latency: a hit as a share of a miss, one after the other in one run, over a model that answers at
once; and what a Redis that hangs adds. Public data are read from ../shared/data.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import math
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from tests.fakes.upstream import FakeUpstream, Pause, Request, Steps, scripted  # noqa: E402
from tests.redis_server import RedisServer, running_redis  # noqa: E402

DATA = ROOT.parent / "shared/data"
KEY = "a key that all gateways of the bench know"
CONCURRENT = 16
SHARES = {"gsm8k": 0.4, "asdiv": 0.4, "math500": 0.2}


# Gateways ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def gateway(upstream: str, redis_url: str, near: bool = False) -> AsyncIterator[Gateway]:
    """One process; killed at the end if it still runs."""
    with tempfile.TemporaryDirectory() as data:
        config = Path(data) / "verivote.toml"
        route = '[[routes]]\nname = "near"\nreuse = "near"\n' if near else ""
        config.write_text(
            f'[cache]\nurl = "{redis_url}"\nhmac_key = "env:CACHE_KEY"\n'
            f"[server]\nport = 0\nmax_inflight = 1024\n{route}"
        )
        flags = ("--upstream", upstream, "--config", str(config), "--data", data)
        log = Path(data) / "log"
        with log.open("w") as told:
            process = subprocess.Popen(  # noqa: ASYNC220 — started before anything is measured
                [sys.executable, "-m", "app", "serve", *flags],
                cwd=ROOT,
                env={**os.environ, "CACHE_KEY": KEY},
                stdout=subprocess.PIPE,
                stderr=told,
                text=True,
            )
        try:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            url = line.split(" serves ")[1].split("/v1")[0]
            limits = httpx.Limits(max_connections=200)
            async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
                yield Gateway(process, client)
        except httpx.HTTPStatusError:
            sys.stderr.write(log.read_text()[-4_000:])
            raise
        finally:
            process.kill()
            process.wait()


class Gateway:
    """A running gateway and a client of it."""

    def __init__(self, process: subprocess.Popen[str], client: httpx.AsyncClient) -> None:
        self.process = process
        self.client = client

    async def ask(self, prompt: str, **verify: Any) -> Reply:
        body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
        reply = await self.client.post("/v1/chat/completions", json={**body, "verify": verify})
        reply.raise_for_status()
        return Reply(reply)


class Reply:
    """What of a reply counts here."""

    def __init__(self, reply: httpx.Response) -> None:
        told = reply.json()
        self.content: str = told["choices"][0]["message"]["content"]
        self.status: str = told["verification"]["status"]
        self.word: str = reply.headers["x-verivote-cache"]


# Flights ------------------------------------------------------------------------


async def flights(args: argparse.Namespace, redis: RedisServer) -> list[dict[str, Any]]:
    rows = []
    for kill in (False, True):
        runs = [await one_flight(redis, kill=kill, number=number) for number in range(args.runs)]
        rows.append(
            {
                "what": "the drawing gateway is killed (-9)" if kill else "both gateways live",
                "runs": args.runs,
                "requests": 100 * args.runs,
                "groups_drawn_each_run": [run["groups"] for run in runs],
                "right_answers": sum(run["right"] for run in runs),
                "asked_again": sum(run["again"] for run in runs),
                "seconds_median": round(statistics.median(run["seconds"] for run in runs), 2),
            }
        )
    return rows


async def one_flight(redis: RedisServer, *, kill: bool, number: int) -> dict[str, Any]:
    """The model takes two seconds. The first request arrives a moment before the others, so that
    it is known which gateway leads."""
    prompt, right = f"What is {1000 + number} * 7?", f"It is {7 * (1000 + number)}."

    def answer(request: Request) -> Steps:
        steps = scripted(right)(request)
        return Steps(steps.steps, content_type=steps.content_type, before=(Pause(2.0),))

    redis.client.flushall()
    async with contextlib.AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeUpstream(answer))
        one, other = [
            await stack.enter_async_context(gateway(fake.url, redis.url)) for _ in range(2)
        ]
        again = 0

        async def request(at: Gateway) -> str:
            nonlocal again
            try:
                return (await at.ask(prompt)).content
            except httpx.TransportError:
                again += 1
                return (await other.ask(prompt)).content

        begun = time.perf_counter()
        asked = [asyncio.create_task(request(one))]
        await fake.until(lambda: len(fake.drawn) == 1, within_s=30)
        asked += [asyncio.create_task(request((one, other)[i % 2])) for i in range(1, 100)]
        await asyncio.sleep(1.0)
        if kill:
            one.process.send_signal(signal.SIGKILL)
        answers = await asyncio.gather(*asked)
        return {
            "groups": len(fake.drawn),
            "right": sum(answer == right for answer in answers),
            "again": again,
            "seconds": time.perf_counter() - begun,
        }


# Near-duplicates ------------------------------------------------------------------------


def questions(number: int) -> list[dict[str, str]]:
    """Prompts with numbers in them, their reference and the verifier that knows it."""

    def rows() -> Iterator[tuple[str, str, str, str]]:
        for line in (DATA / "gsm8k/test.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            yield "gsm8k", row["question"], row["answer"].rpartition("#### ")[2], "number"
        with gzip.open(DATA / "recorded/samples_asdiv.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield "asdiv", row["question"], row["gold"], "number"
        for line in (DATA / "math500/math500.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            yield "math500", row["problem"], row["answer"], "math"

    wanted = {name: math.ceil(share * number) for name, share in SHARES.items()}
    found: dict[str, dict[str, str]] = {}
    for name, prompt, reference, use in rows():
        if wanted[name] and re.search(r"\d", prompt) and len(prompt) <= 1_500:
            if prompt in found:
                continue
            wanted[name] -= 1
            found[prompt] = {"prompt": prompt, "reference": reference, "use": use, "set": name}
    return list(found.values())[:number]


def all_numbers(prompt: str, rng: random.Random) -> str:
    return re.sub(r"\d+", lambda m: _other_number(m[0], rng), prompt)


def one_number(prompt: str, rng: random.Random) -> str:
    places = list(re.finditer(r"\d+", prompt))
    chosen = rng.choice(places)
    return prompt[: chosen.start()] + _other_number(chosen[0], rng) + prompt[chosen.end() :]


def _other_number(digits: str, rng: random.Random) -> str:
    low, high = (10 ** (len(digits) - 1), 10 ** len(digits) - 1) if len(digits) > 1 else (0, 9)
    while (other := str(rng.randint(low, high))) == digits:
        pass
    return other


def swapped(pairs: Mapping[str, str]) -> Callable[[str, random.Random], str]:
    """One occurrence of one of these words becomes its partner."""
    both = {**pairs, **{there: here for here, there in pairs.items()}}

    def change(prompt: str, rng: random.Random) -> str:
        places = list(re.finditer(rf"\b({'|'.join(map(re.escape, both))})\b", prompt))
        if not places:
            return prompt
        chosen = rng.choice(places)
        return prompt[: chosen.start()] + both[chosen[0]] + prompt[chosen.end() :]

    return change


def other_name(prompt: str, rng: random.Random) -> str:
    """A capitalised word inside a sentence becomes another."""
    places = [m for m in re.finditer(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", prompt)]
    if not places:
        return prompt
    chosen = rng.choice(places)
    return prompt[: chosen.start()] + rng.choice(("Zora", "Quentin")) + prompt[chosen.end() :]


def negated(prompt: str, rng: random.Random) -> str:
    places = list(re.finditer(r"\b(is|are|was|were|does|did|do|has|have|can|will)\b", prompt))
    if not places:
        return prompt
    end = rng.choice(places).end()
    return f"{prompt[:end]} not{prompt[end:]}"


UNITS = swapped(
    {
        "dollars": "cents",
        "hours": "minutes",
        "days": "weeks",
        "miles": "kilometers",
        "feet": "inches",
        "pounds": "ounces",
        "hour": "minute",
        "day": "week",
        "years": "months",
    }
)
COMPARISONS = swapped(
    {
        "more": "fewer",
        "less": "greater",
        "before": "after",
        "first": "last",
        "each": "all",
        "largest": "smallest",
        "total": "difference",
        "increased": "decreased",
        "sold": "bought",
        "positive": "negative",
        "maximum": "minimum",
    }
)
OTHERS: dict[str, Callable[[str, random.Random], str]] = {
    "all numbers changed": all_numbers,
    "one number changed": one_number,
    "a unit changed": UNITS,
    "a comparison turned": COMPARISONS,
    "a name changed": other_name,
    "a negation put in": negated,
}


def doubled_spaces(prompt: str, rng: random.Random) -> str:
    return prompt.replace(" ", "  ")


def broken_lines(prompt: str, rng: random.Random) -> str:
    return re.sub(r"(?<=[.?!]) ", "\n", prompt) + "\n"


def no_last_mark(prompt: str, rng: random.Random) -> str:
    return prompt.rstrip().rstrip(".?!")


def asked_politely(prompt: str, rng: random.Random) -> str:
    return f"Please: {prompt}"


def mistyped(prompt: str, rng: random.Random) -> str:
    """A letter of one long word in lower case is missing."""
    places = [m for m in re.finditer(r"(?<![\\\w])[a-z]{7,}\b", prompt)]
    if not places:
        return prompt
    at = rng.choice(places).start() + 3
    return prompt[:at] + prompt[at + 1 :]


SAME: dict[str, Callable[[str, random.Random], str]] = {
    "spaces doubled": doubled_spaces,
    "one sentence a line": broken_lines,
    "no last mark": no_last_mark,
    "please before it": asked_politely,
    "a letter missing": mistyped,
}


async def near(args: argparse.Namespace, redis: RedisServer) -> list[dict[str, Any]]:
    asked = questions(args.prompts)
    rows = []
    for name, change in OTHERS.items():
        for reuse in (False, True):
            if name != "all numbers changed" and not reuse:
                continue  # an exact key is exact: once is enough
            found = await planted(asked, change, redis, near=reuse)
            found |= {
                "what": name,
                "reuse": "near" if reuse else "exact",
                "wrong_hits": found["hits"],
            }
            rows.append(found)
    for name, change in SAME.items():
        found = await planted(asked[:: max(1, len(asked) // 250)], change, redis, near=True)
        rows.append({**found, "what": name, "reuse": "near", "wrong_hits": 0})
    return rows


async def planted(
    asked: list[dict[str, str]],
    change: Callable[[str, random.Random], str],
    redis: RedisServer,
    *,
    near: bool,
) -> dict[str, Any]:
    """Answer the originals, then the changed prompts with the originals' references."""
    rng = random.Random(7)
    originals = {row["prompt"] for row in asked}
    pairs = [
        (row, changed) for row in asked if (changed := change(row["prompt"], rng)) != row["prompt"]
    ]
    pairs = [(row, changed) for row, changed in pairs if changed not in originals]
    said = {row["prompt"]: f"The answer is \\boxed{{{row['reference']}}}." for row in asked}

    def answer(request: Request) -> Steps:
        prompt = request.body["messages"][-1]["content"]
        return scripted(said.get(prompt, "I cannot say."))(request)

    redis.client.flushall()
    async with FakeUpstream(answer) as fake, gateway(fake.url, redis.url, near=near) as at:
        verify = [{"verifiers": [{"use": r["use"], "reference": r["reference"]}]} for r, _ in pairs]
        first = await several(
            at, [(r["prompt"], v) for (r, _), v in zip(pairs, verify, strict=True)]
        )
        verified = [reply.status == "verified" for reply in first]
        once = [{**v, "n": 1} for v in verify]
        then = await several(at, [(c, v) for (_, c), v in zip(pairs, once, strict=True)])
    kept = [reply for reply, is_kept in zip(then, verified, strict=True) if is_kept]
    hits = sum(reply.word not in ("miss", "off", "negative") for reply in kept)
    return {"n": len(kept), "hits": hits, "rate_95": wilson(hits, len(kept))}


async def several(at: Gateway, asked: list[tuple[str, dict[str, Any]]]) -> list[Reply]:
    turn = asyncio.Semaphore(CONCURRENT)

    async def one(prompt: str, verify: dict[str, Any]) -> Reply:
        async with turn:
            return await at.ask(prompt, **verify)

    return list(await asyncio.gather(*(one(prompt, verify) for prompt, verify in asked)))


def wilson(hits: int, n: int) -> list[float]:
    """95 % interval of a share."""
    if n == 0:
        return [0.0, 1.0]
    z, share = 1.96, hits / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return [round(max(0.0, (middle - spread) / scale), 4), round((middle + spread) / scale, 4)]


# Latency ------------------------------------------------------------------------


async def latency(args: argparse.Namespace, redis: RedisServer) -> list[dict[str, Any]]:
    rows = []
    async with FakeUpstream(lambda request: scripted("It is 42.")(request)) as fake:
        for name, url in (("memory", "memory://"), ("redis", redis.url)):
            redis.client.flushall()
            async with gateway(fake.url, url) as at:
                rows.append({"what": f"hit against miss, {name}", **await hits_and_misses(at)})
        async with gateway(fake.url, redis.url) as at:
            rows.append({"what": "Redis hangs", **await while_it_hangs(at, redis)})
    return rows


async def timed(at: Gateway, prompt: str) -> float:
    """Milliseconds of one request with a reference that is right."""
    begun = time.perf_counter()
    await at.ask(prompt, verifiers=[{"use": "number", "reference": "42"}])
    return (time.perf_counter() - begun) * 1000


async def hits_and_misses(at: Gateway, pairs: int = 200) -> dict[str, Any]:
    for number in range(20):
        await timed(at, f"warm up {number}")
    misses, hits = [], []
    for number in range(pairs):
        misses.append(await timed(at, f"How much is question {number}?"))
        hits.append(await timed(at, f"How much is question {number}?"))
    rng = random.Random(1)
    ratios = []
    for _ in range(2_000):
        chosen = [rng.randrange(pairs) for _ in range(pairs)]
        hit = statistics.median(hits[i] for i in chosen)
        ratios.append(hit / statistics.median(misses[i] for i in chosen))
    ratios.sort()
    return {
        "n": pairs,
        "miss_p50_ms": round(statistics.median(misses), 2),
        "hit_p50_ms": round(statistics.median(hits), 2),
        "ratio": round(statistics.median(hits) / statistics.median(misses), 3),
        "ratio_95": [round(ratios[50], 3), round(ratios[-51], 3)],
    }


async def while_it_hangs(at: Gateway, redis: RedisServer, number: int = 60) -> dict[str, Any]:
    """Misses before, while the server is stopped (SIGSTOP), and after it goes on."""
    before = [await timed(at, f"before {i}") for i in range(number)]
    redis.pause()
    during = [await timed(at, f"during {i}") for i in range(number)]
    redis.resume()
    usual = statistics.median(before)
    return {
        "n": number,
        "miss_p50_ms": round(usual, 2),
        "first_three_ms": [round(took, 1) for took in during[:3]],
        "later_p50_ms": round(statistics.median(during[3:]), 2),
        "slowest_added_ms": round(max(during) - usual, 1),
    }


# The table ------------------------------------------------------------------------


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}")
    for row in rows:
        told = ", ".join(f"{key} {value}" for key, value in row.items() if key != "what")
        print(f"  {row['what']:<38} {told}")


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine()}
    print(result["machine"])
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder)) as redis:
        for name, run in (("flights", flights), ("near", near), ("latency", latency)):
            if name in args.only.split(","):
                result[name] = await run(args, redis)
                print_rows(name, result[name])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="flights,near,latency")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(measure(args))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
