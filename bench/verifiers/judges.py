"""`judge` and `grounding` with a real model behind them: the embedded one, which is far too small.

What is measured is not how well it judges but what a bad judge may do: how many wrong answers it
passes when nobody watches it, and how many beside known-bad answers. Needs the embedded model.

python -m bench.verifiers.judges [--limit 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from app.engines.embedded import EmbeddedEngine
from app.settings import EngineSettings
from verifiers.base import AnswerContract, Candidate, Check, Verdict, VerifierSpec
from verifiers.run import Runner

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
TASKS = 20
AT_ONCE = 4
RUBRIC = ["The final number is right."]
NOTES = "Refunds take 5 days. Shipping is free from 30 dollars on. The shop is closed on Sundays."
KEPT = ("Refunds take 5 days.", "Shipping is free from 30 dollars on.", "It is closed on Sundays.")
BENT = ("Shipping takes 5 days.", "Refunds are closed on Sundays.", "The shop is free on Sundays.")


def solutions() -> list[tuple[str, str, str, bool]]:
    """Question, reference and a graded solution of it: a right and a wrong one a question."""
    found: list[tuple[str, str, str, bool]] = []
    for line in (DATA / "gsm8k/example_model_solutions.jsonl").read_text().splitlines():
        row = json.loads(line)
        graded = [value for value in row.values() if isinstance(value, dict)]
        for wanted in (True, False):
            for each in graded:
                if each["is_correct"] is wanted:
                    found.append((row["question"], row["ground_truth"], each["solution"], wanted))
                    break
    return found


async def measure(limit: int | None) -> list[dict[str, Any]]:
    engine = EmbeddedEngine(EngineSettings(kind="embedded"), "main")
    await engine.start()
    runner = Runner(ask=engine.ask, ask_deadline_ms=300_000)
    room = asyncio.Semaphore(AT_ONCE)

    async def verdict(use: str, text: str, prompt: str, **options: Any) -> Verdict:
        async with room:
            panel = await runner.prepare(
                [VerifierSpec(use=use, options=options)], Check(prompt=prompt)
            )
            judged = await runner.judge(panel, AnswerContract(), Candidate(text=text))
        return judged.verdicts[0]

    async def graded(right: bool, **options: Any) -> list[Verdict]:
        rows = [row for row in solutions() if row[3] is right][: limit or TASKS]
        return await asyncio.gather(
            *(
                verdict("judge", text, question, rubric=RUBRIC, reference=reference, **options)
                for question, reference, text, _ in rows
            )
        )

    async def grounded(claims: tuple[str, ...]) -> list[Verdict]:
        return await asyncio.gather(
            *(verdict("grounding", c, "How?", notes=NOTES, judge=True) for c in claims)
        )

    try:
        return [
            row("judge, wrong answers, not watched", await graded(False, known_bad=[])),
            row("judge, wrong answers", await graded(False)),
            row("judge, right answers", await graded(True)),
            row("grounding with a judge, bent claims", await grounded(BENT)),
            row("grounding with a judge, kept claims", await grounded(KEPT)),
        ]
    finally:
        await runner.close()
        await engine.close()


def row(what: str, verdicts: list[Verdict]) -> dict[str, Any]:
    """The share that passed, and how the rest ended."""
    passed = sum(verdict.status == "pass" for verdict in verdicts)
    ends = Counter(f"{v.status.value}:{v.reason}" for v in verdicts if v.status != "pass")
    return {
        "what": f"small model as {what}: passed",
        "n": len(verdicts),
        "agreement": passed / len(verdicts),
        "interval": _interval(passed, len(verdicts)),
        "rest": ", ".join(f"{count} {end}" for end, count in ends.most_common()),
        "misses": [],
    }


def _interval(right: int, n: int) -> list[float]:
    """Wilson, 95 %."""
    z, p = 1.96, right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round(max(0.0, centre - half), 4), round(min(1.0, centre + half), 4)]


def run(limit: int | None = None) -> dict[str, Any]:
    """Rows for the table of all verifier measurements."""
    return {"rows": asyncio.run(measure(limit))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    print(json.dumps(run(parser.parse_args().limit), indent=1))
