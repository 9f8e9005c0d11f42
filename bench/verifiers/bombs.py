"""How long the event loop stands still while 50 bombs are judged at once.

    python -m bench.verifiers.bombs [--limit 10]

Towers, factorials, nesting, catastrophic patterns, `$ref` chains, deep JSON and 10 MB answers go
through one runner together. A task that wants to run every millisecond measures the longest time
that it had to wait; the same is measured without bombs, on the same machine, beside it. No bomb may
come to a pass.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from verifiers.base import AnswerContract, Candidate, Check, VerifierSpec
from verifiers.run import Runner

DEADLINE_MS = 1_000
ROUNDS = 3
"""The stall is the median over these, its interval the least and the most."""
MB10 = 10_000_000

Bomb = tuple[str, str, dict[str, Any], str]
"""Name, kind, options and the completion."""


def doubling_refs(levels: int) -> dict[str, Any]:
    """A schema in which every definition asks for the next one twice."""
    defs: dict[str, Any] = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$defs": {**defs, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


def bombs() -> list[Bomb]:
    """Fifty of them, over every family."""
    number = {"reference": "42"}
    math = {"reference": "42"}
    ledger = {"total": "/total", "items": "/items/*"}
    whole = {"schema": {"type": "integer"}}
    digits = "9" * 900_000
    found: list[Bomb] = []
    for kind, options in (
        ("number", number),
        ("math", math),
        ("calculator", {"expression": "6*7"}),
    ):
        found += [
            (f"tower, {kind}", kind, options, "\\boxed{9^{9^{9^{9}}}}"),
            (f"factorial, {kind}", kind, options, "\\boxed{1000000!!}"),
            (f"digits, {kind}", kind, options, f"Answer: {digits}"),
            (f"exponent, {kind}", kind, options, "Answer: 1e999999999"),
            (f"braces, {kind}", kind, options, "\\boxed{" * 7_000),
            (f"10 MB, {kind}", kind, options, "Answer: " + "1 " * (MB10 // 2)),
        ]
    found += [
        ("nested fractions, math", "math", math, "\\boxed{" + "\\frac{1}{1+" * 900 + "}" * 901),
        ("nested roots, math", "math", math, "\\boxed{" + "\\sqrt{" * 2_000 + "2" + "}" * 2_001),
        ("binomial, math", "math", math, "\\boxed{\\binom{1000000}{500000}}"),
        ("long sum, math", "math", math, "\\boxed{" + "+".join(["x^{99}"] * 900) + "}"),
        ("power of a sum, math", "math", math, "\\boxed{(1+x+y+z)^{4000}}"),
        ("parentheses, math", "math", math, "\\boxed{" + "(" * 4_000 + "1" + ")" * 4_000 + "}"),
        ("deep JSON, json_schema", "json_schema", whole, "[" * 900_000),
        ("deep JSON, json_equal", "json_equal", {"reference": [1]}, "[" * 900_000),
        ("deep JSON, ledger", "ledger", ledger, '{"items":' + '{"a":' * 150_000),
        ("digits, json_schema", "json_schema", whole, digits),
        ("digits, ledger", "ledger", ledger, f'{{"items":[{digits}],"total":1}}'),
        ("exponent, ledger", "ledger", ledger, '{"items":[1e999999999],"total":1}'),
        ("10 MB, json_schema", "json_schema", whole, '"' + "x" * MB10 + '"'),
        ("10 MB, json_equal", "json_equal", {"reference": [1]}, "[" + "1," * (MB10 // 2) + "1]"),
        ("$ref chain", "json_schema", {"schema": doubling_refs(40)}, "1"),
        ("$ref chain of 60", "json_schema", {"schema": doubling_refs(60)}, "1"),
        (
            "unique items",
            "json_schema",
            {"schema": {"uniqueItems": True}},
            "[" + ",".join(["[1.5]"] * 90_000) + ",1",
        ),
        (
            "catastrophic pattern",
            "json_schema",
            {"schema": {"pattern": "^(a+)+$"}},
            '"' + "a" * 90_000 + '!"',
        ),
        (
            "nested pattern",
            "json_schema",
            {"schema": {"pattern": "^((a|aa)+)+b$"}},
            '"' + "a" * 90_000 + '"',
        ),
        ("quotes", "json_schema", whole, '"' + '\\"' * 400_000),
        (
            "free order with tolerance",
            "json_equal",
            {"reference": [i / 7 for i in range(1_500)], "unordered": True, "tolerance": 500},
            json.dumps([1_000 - i / 7 for i in range(1_500)]),
        ),
        ("towers in steps", "steps", {}, "9^9^9 = 1 " * 5_000 + "2 + 2 = 5"),
        ("endless sum in steps", "steps", {}, "1+" * 25_000 + "1 = 0"),
        ("parentheses in steps", "steps", {}, "(" * 48_000 + "1+1 = 3"),
        ("newlines in steps", "steps", {}, "\n" * 49_000 + "1+1 = 3"),
        ("10 MB in steps", "steps", {}, "1 + 1 = 3 " * (MB10 // 10)),
        (
            "claims against notes",
            "grounding",
            {"notes": "Refunds are possible within 14 days at Contoso. " * 900},
            "Refunds may be possible within 15 days at Fabrikam. " * 190,
        ),
        ("10 MB, grounding", "grounding", {"notes": "Shipping is free."}, "It is 9. " * 1_111_111),
        ("10 MB, judge", "judge", {"rubric": "Is right."}, "x" * MB10),
        ("10 MB, text", "text", {"reference": "Canberra"}, "the " * (MB10 // 4)),
        ("10 MB of thinking tags", "text", {"reference": "x"}, "<think>" * (MB10 // 7)),
        ("10 MB, choice", "choice", {"reference": "B"}, "(A) " * (MB10 // 4)),
    ]
    return found


@dataclass
class Stall:
    """How long a task had to wait for its turn at most, in milliseconds."""

    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    """The most processor time of the loop's thread between two turns: what of it was our doing."""


async def longest_wait(work: Awaitable[Any]) -> tuple[Stall, Any]:
    """The longest time that a task had to wait for its turn while the work was done."""
    stall, running = Stall(), True

    async def tick() -> None:
        while running:
            before, used = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            stall.wall_ms = max(stall.wall_ms, (time.perf_counter() - before - 0.001) * 1000)
            stall.cpu_ms = max(stall.cpu_ms, (time.thread_time() - used) * 1000)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    stall.wall_ms = stall.cpu_ms = 0.0
    done = await work
    running = False
    await ticking
    return stall, done


async def measure(limit: int | None) -> dict[str, Any]:
    listed = bombs()[:limit]
    runner = Runner(deadline_ms=DEADLINE_MS)
    panels = [
        await runner.prepare([VerifierSpec(use=use, options=options)], Check(prompt="How many?"))
        for _, use, options, _ in listed
    ]
    candidates = [Candidate(text=text) for _, _, _, text in listed]

    async def judge(index: int) -> str:
        contract = panels[index].contract or AnswerContract()
        judged = await runner.judge(panels[index], contract, candidates[index])
        return judged.verdicts[0].status.value

    async def judge_all() -> list[str]:
        return await asyncio.gather(*(judge(index) for index in range(len(listed))))

    begun = time.perf_counter()
    stalls, statuses = list[Stall](), list[str]()
    for _ in range(ROUNDS):
        stall, statuses = await longest_wait(judge_all())
        stalls.append(stall)
    took = time.perf_counter() - begun
    control, _ = await longest_wait(asyncio.sleep(took / ROUNDS))
    alone = []
    for index, (name, _, _, _) in enumerate(listed):
        alone.append((round((await longest_wait(judge(index)))[0].wall_ms, 1), name))
    await runner.close()
    passed = [name for (name, *_), status in zip(listed, statuses, strict=True) if status == "pass"]
    return {
        "what": "event-loop stall while 50 bombs run",
        "target": "< 50 ms",
        "n": len(listed),
        "stall_ms": round(statistics.median(stall.wall_ms for stall in stalls), 1),
        "interval": tuple(round(stall.wall_ms, 1) for stall in sorted(stalls, key=_wall)[::2]),
        "loop_cpu_ms": round(max(stall.cpu_ms for stall in stalls), 1),
        "without_bombs_ms": round(control.wall_ms, 1),
        "slowest_alone": [f"{name}: {ms} ms" for ms, name in sorted(alone, reverse=True)[:5]],
        "statuses": dict(Counter(statuses)),
        "seconds": round(took, 1),
        "misses": [{"passed": name} for name in passed],
    }


def _wall(stall: Stall) -> float:
    return stall.wall_ms


def run(limit: int | None = None) -> dict[str, Any]:
    """One row, over the first `limit` bombs."""
    return {"name": "bombs", "rows": [asyncio.run(measure(limit))]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    print(json.dumps(run(parser.parse_args().limit), indent=1))
