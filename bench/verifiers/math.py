"""`number` against GSM8K's labels, `math` against MATH-500's answers in other spellings, and speed.

    python -m bench.verifiers.math [--limit 50]

Every gold answer is written in at least six other ways (spacing, brackets, fraction forms,
decimals, units, order of terms, plain and Unicode spellings) and must pass against itself; golds
of other problems must not pass. It measures answers that are equal by construction, not how models
write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from verifiers.algebra.values import spelling
from verifiers.base import AnswerContract, Candidate, Check, VerifierSpec, get_verifier
from verifiers.extract import extract_answer
from verifiers.run import Panel, Runner

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
SPELLINGS = 6
SHUFFLES = 3


def gsm8k(limit: int | None) -> dict[str, Any]:
    """Every labelled solution with `number` and the reference, in this process."""
    lines = (DATA / "gsm8k/example_model_solutions.jsonl").read_text("utf-8").splitlines()
    number, misses, counted = get_verifier("number"), [], 0
    started = time.perf_counter()
    for index, line in enumerate(lines[:limit]):
        row = json.loads(line)
        reference = row["ground_truth"].rpartition("A:")[2].strip()
        prepared = number.prepare({"reference": reference}, Check())
        for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            solution = row[model]
            candidate = Candidate(text=solution["solution"])
            answer = extract_answer(candidate, prepared.contract or AnswerContract())
            status = str(number.verify(prepared, candidate, answer).status)
            counted += 1
            if (status == "pass") is not solution["is_correct"]:
                said = candidate.text.splitlines()[-1:]
                misses.append(f"{index}/{model}: {status}, want {reference}, last line {said}")
    took = time.perf_counter() - started
    return {
        "what": "GSM8K labelled solutions, number",
        "n": counted,
        "agreement": 1 - len(misses) / counted,
        "per_s": round(counted / took),
        "misses": misses,
    }


FRACTION = re.compile(r"\\d?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
SIMPLE = re.compile(r"-?\d+(?:\.\d+)?")


def other_spellings(gold: str) -> Iterator[str]:
    """The same answer, written in other ways; those that change nothing are left out by callers."""
    yield gold.replace("\\frac", "\\dfrac") if "frac" in gold else f"\\displaystyle {gold}"
    yield f"\\left({gold[1:-1]}\\right)" if re.fullmatch(r"\([^()]*\)", gold) else f" {gold} "
    yield from _fractions(gold)
    yield from _numbers(gold)
    yield from _reordered(gold)
    yield from _plain(gold)
    yield re.sub(r"\s*([-+=])\s*", r" \1 ", gold)
    yield re.sub(r"(?<![a-zA-Z]) | (?![a-zA-Z0-9])", "", gold)
    yield f"${gold}$"
    if re.fullmatch(r"\\text\{\(?\w+\)?\}", gold):
        word = gold[6:-1]
        yield from (word, f"\\textbf{{{word}}}", word.lower(), word.upper(), f"\\mbox{{{word}}}")
    if _is_scalar(gold):
        yield f"x = {gold}"
        if "\\text" not in gold and "mbox" not in gold and not re.search(r"[a-z]\b|circ|_", gold):
            yield f"{gold} \\text{{ units}}"
            yield f"{gold} \\text{{ cm}}^2"
    yield f"\\,{gold}\\,"
    yield f"{gold}."
    yield f"\\;{gold}\\;"


def _is_scalar(gold: str) -> bool:
    words = re.sub(r"\\[a-z]?(?:frac|sqrt|pi|left|right)|\\[!,$]", "", gold)
    return not re.search(r"[a-zA-Z\\,=]", words)


def _fractions(gold: str) -> Iterator[str]:
    found = FRACTION.search(gold)
    if found is None:
        return
    top, bottom = found[1] or found[2], found[3] or found[4]
    yield gold.replace("\\frac", "\\tfrac").replace("\\dfrac", "\\tfrac")
    before = gold[: found.start()]
    if found[0] == gold.lstrip("-") and SIMPLE.fullmatch(top) and SIMPLE.fullmatch(bottom):
        sign = "-" if gold.startswith("-") else ""
        value = Fraction(int(top), int(bottom))
        yield f"{sign}{top}/{bottom}"
        yield f"{sign}\\frac{{{int(top) * 3}}}{{{int(bottom) * 3}}}"
        yield f"\\frac{{{sign}{top}}}{{{bottom}}}"
        if 10**6 % value.denominator == 0:
            yield f"{sign}{float(value)}"
    elif not before.rstrip()[-1:].isdigit():
        yield gold.replace(found[0], f"\\frac{{ {top} }}{{ {bottom} }}")


def _numbers(gold: str) -> Iterator[str]:
    plain = gold.replace(",\\!", "").replace(" ", "").replace("\\$", "").replace(",", "")
    if SIMPLE.fullmatch(plain) and "," not in re.sub(r",(?:\\!\s*)?\d{3}", "", gold):
        whole = "." not in plain
        yield plain
        yield f"{int(plain):,}" if whole else f"{plain}0"
        yield f"{plain}.0" if whole else f"{plain}00"
        yield f"\\text{{{plain}}}"
    if gold.endswith("^\\circ"):
        yield gold[:-6]
        yield gold[:-6] + "°"
        yield gold[:-6] + " \\text{ degrees}"
        yield gold[:-5] + "{\\circ}"


def _reordered(gold: str) -> Iterator[str]:
    terms = re.fullmatch(r"(-?[^-+=(),\\]+|-?\d*\\sqrt\{\d+\}|\d+)\s*([-+])\s*([^-+=(),]+)", gold)
    if terms:
        sign = "" if terms[2] == "+" else "-"
        first = terms[1].strip()
        yield f"{sign}{terms[3]} {'' if first.startswith('-') else '+'} {first}"
    if re.fullmatch(r"[-\d]+(?:,\s*[-\d]+)+", gold) and not re.fullmatch(r"\d+(?:,\d{3})+", gold):
        yield ", ".join(reversed([item.strip() for item in gold.split(",")]))
    if "\\cup" in gold:
        yield " \\cup ".join(reversed([part.strip() for part in gold.split("\\cup")]))
    if re.fullmatch(r"-?\d+\s*\\sqrt\{?\d+\}?", gold):
        outside, inside = (int(digits) for digits in re.findall(r"-?\d+", gold))
        sign = "-" if outside < 0 else ""
        yield f"{sign}\\sqrt{{{outside * outside * inside}}}"
        yield f"\\sqrt{{{inside}}} \\cdot {outside}" if outside > 0 else gold
    if re.fullmatch(r"\d+\s*\\pi", gold):
        yield "\\pi \\cdot " + gold.split("\\")[0].strip()


def _plain(gold: str) -> Iterator[str]:
    unicode = gold.replace("\\pi", "π").replace("\\infty", "∞").replace("\\cup", "∪")
    unicode = unicode.replace("\\pm", "±").replace("-", "−").replace("\\cdot", "·")
    yield unicode
    yield re.sub(r"\\sqrt\{(\d+)\}", r"√\1", gold) if gold.count("sqrt") == 1 else gold
    yield re.sub(r"\\sqrt\{(\d+)\}", r" sqrt(\1)", gold).replace("\\pi", "pi")
    yield re.sub(r"\^(\d)(?!\d)", r"^{\1}", gold)
    yield re.sub(r"\^2(?!\d)", "²", gold)


def spellings_of(gold: str) -> list[str]:
    distinct = dict.fromkeys(text for text in other_spellings(gold) if text != gold)
    return list(distinct)


async def math500(limit: int | None) -> list[dict[str, Any]]:
    """False negatives on spellings, false positives on shuffled golds, and the speed of both."""
    lines = (DATA / "math500/math500.jsonl").read_text("utf-8").splitlines()
    golds = [json.loads(line)["answer"] for line in lines][:limit]
    runner = Runner(deadline_ms=5_000, workers=1)
    panels = [await panel_of(runner, gold) for gold in golds]
    await ask(runner, await panel_of(runner, "\\sqrt{2}x"), "x\\sqrt{2}")  # starts the worker
    rows, times, pairs = [], [], []
    misses, counted, worker_times = [], 0, []
    for gold, panel in zip(golds, panels, strict=True):
        for text in spellings_of(gold)[: SPELLINGS * 2]:
            status, reason, took, in_worker = await ask(runner, panel, text)
            counted += 1
            times.append(took)
            if in_worker:
                worker_times.append(took)
                pairs.append((gold, text))
            if status != "pass":
                misses.append(f"{gold} | {text}: {status} {reason}")
    least = min(len(spellings_of(gold)) for gold in golds)
    rows.append(
        {
            "what": f"MATH-500 gold in other spellings (at least {least} each), math",
            "n": counted,
            "agreement": 1 - len(misses) / counted,
            "misses": misses,
        }
    )
    passed, failed, abstained = [], 0, {}
    seeded = random.Random(7)
    for _ in range(SHUFFLES):
        for index, panel in enumerate(panels):
            other = golds[seeded.randrange(len(golds))]
            if bare(other) == bare(golds[index]):
                continue
            status, reason, took, in_worker = await ask(runner, panel, other)
            times.append(took)
            worker_times += [took] if in_worker else []
            failed += status == "fail"
            if status == "pass":
                passed.append(f"{golds[index]} | {other}")
            elif status != "fail":
                abstained[reason] = abstained.get(reason, 0) + 1
    total = len(passed) + failed + sum(abstained.values())
    rows.append(
        {
            "what": "MATH-500 golds of other problems: share failed (passes are misses)",
            "n": total,
            "agreement": failed / total,
            "abstained": abstained,
            "misses": passed,
        }
    )
    rows.append(speed("math, all checks above", times))
    rows.append(speed("math, checks that reached both engines", worker_times))
    rows.append(cpu_speed(pairs))
    await runner.close()
    return rows


def bare(gold: str) -> str:
    """What is one answer under the default policies: `x=5` and `5`, `36^\\circ` and `36`."""
    plain = FRACTION.sub(lambda m: f"{m[1] or m[2]}/{m[3] or m[4]}", gold)
    plain = spelling(re.sub(r"^[a-z]\s*=|\^\\circ|\\\$", "", plain))
    return str(Fraction(plain)) if re.fullmatch(r"-?\d*(?:\.\d+|/[1-9]\d*)?", plain) else plain


def speed(what: str, times: list[float]) -> dict[str, Any]:
    ordered = sorted(times)
    return {
        "what": f"{what}: checks a second, one worker",
        "n": len(times),
        "per_s": round(len(times) / sum(times) * 1000, 1),
        "p50_ms": round(ordered[len(times) // 2], 2),
        "p99_ms": round(ordered[int(len(times) * 0.99)], 1),
        "max_ms": round(ordered[-1], 1),
        "misses": [],
    }


def cpu_speed(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Both engines on one core, by the CPU that they use: what a busy machine cannot blur."""
    kind, used = get_verifier("math"), []
    for gold, text in pairs:
        prepared = kind.prepare({"reference": gold}, Check())
        candidate = Candidate(text=f"\\boxed{{{text}}}")
        answer = extract_answer(candidate, prepared.contract or AnswerContract())
        started = time.process_time()
        kind.verify(prepared, candidate, answer)
        used.append((time.process_time() - started) * 1000)
    return speed("math, both engines, by CPU time", used[1:])


async def panel_of(runner: Runner, reference: str) -> Panel:
    spec = VerifierSpec(use="math", options={"reference": reference})
    return await runner.prepare([spec], Check())


async def ask(runner: Runner, panel: Panel, text: str) -> tuple[str, str, float, bool]:
    """Status, reason, milliseconds, and whether a worker was needed."""
    started = time.perf_counter()
    contract = panel.contract or AnswerContract()
    judged = await runner.judge(panel, contract, Candidate(text=f"So it is \\boxed{{{text}}}."))
    took = (time.perf_counter() - started) * 1000
    (verdict,) = judged.verdicts
    return str(verdict.status), verdict.reason, took, verdict.wait_ms > 0


BOMBS = (
    "9^{9^{9}}", "9^{999999999}", "(2^{64})^{64}", "(10^{100})!", "99999!", "\\binom{99999}{50000}",
    "((((((1+x)^{60})^{60})^{60})^{60})^{60})", "(a+b+c+d+e)^{64}", "\\sqrt{2}^{1000000}",
    "(" * 2_000 + "1" + ")" * 2_000, "\\frac{" * 500 + "1" + "}{2}" * 500, "9" * 4_000,
    "\\sqrt{" * 60 + "2" + "}" * 60, "+".join(f"\\sqrt{{{n}}}" for n in range(2, 300)),
    "\\frac{1}{" + "+".join(f"\\sqrt{{{n}}}" for n in (2, 3, 5, 7, 11, 13, 17, 19)) + "}",
    "+".join(f"x_{n}" for n in range(400)), "(x+1)^{64}/(y+1)^{64}", "2^{3^{4^{5}}}",
    "\\sin(\\sin(\\sin(\\sin(9^{99}))))", "e^{e^{e^{e^{9}}}}", "1e999", "10^{-999999}",
    "0.1^{4000}",
    "\\begin{pmatrix}" + "1&2\\\\" * 500 + "1&2\\end{pmatrix}", "\\{" * 70 + "1" + "\\}" * 70,
)  # fmt: skip


async def stall() -> dict[str, Any]:
    """The longest time in which the event loop did nothing else while 50 bombs were judged.

    `max_ms` is by the clock, whatever else this machine does; `max_cpu_ms` is this process's own.
    """
    runner = Runner(deadline_ms=1_000, workers=2)
    panel = await panel_of(runner, "x^2 + \\sqrt{3}")
    await ask(runner, panel, "\\sqrt{3} + x^2")
    gaps: list[tuple[float, float]] = []
    statuses: dict[str, int] = {}

    async def tick() -> None:
        last, last_cpu = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now, cpu = time.perf_counter(), time.thread_time()
            gaps.append(((now - last) * 1000, (cpu - last_cpu) * 1000))
            last, last_cpu = now, cpu

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    gaps.clear()
    every = [f"{bomb}{' ' * turn}" for turn in range(2) for bomb in BOMBS]
    for status, *_ in await asyncio.gather(*(ask(runner, panel, bomb) for bomb in every)):
        statuses[status] = statuses.get(status, 0) + 1
    await asyncio.sleep(0.01)
    ticking.cancel()
    await runner.close()
    return {
        "what": "event loop: longest stall while 50 bombs are judged",
        "n": len(every),
        "max_ms": round(max(wall for wall, _ in gaps), 1),
        "max_cpu_ms": round(max(cpu for _, cpu in gaps), 1),
        "statuses": statuses,
        "misses": ["a bomb passed"] if statuses.get("pass") else [],
    }


def run(limit: int | None = None) -> dict[str, Any]:
    """Rows for the table of all verifier measurements."""
    return {
        "rows": [
            gsm8k(limit),
            *asyncio.run(math500(limit)),
            asyncio.run(stall()),
        ]
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    print(json.dumps(run(parser.parse_args().limit), indent=1, ensure_ascii=False))
