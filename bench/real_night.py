"""Two nights of a small real model on a real vLLM, from its users' prompts to a better policy.

SmolLM2-135M-Instruct answers five families of small tasks on a vLLM that the gateway runs
(`serve --model`). What users ask by day is logged with the verdicts of their verifiers;
`verivote retrain run` trains an adapter by night, loads it, compares it with what serves on
held-out prompts and promotes it, twice, for each seed. Nothing that a held-out prompt is made of
(a number, a name, a city) occurs in what is trained on (bench/real_world/task.py).

Between the nights the held-out prompts are asked as users ask, with the gateway stopping as soon as
an answer is proven: samples drawn for each solved prompt. And µ as vLLM logged it is compared with
what the trainer computes from the same weights, in float32 and in bfloat16.

    python tests/vllm/setup_vllm.py .build/vllm
    python bench/real_night.py [--seeds 0 1] [--nights 2] [--json OUT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from night import METRICS, ROOT, VERIVOTE, World, run, running, say, verivote
from real_world.task import FAMILIES, Question, questions

VLLM = ROOT / ".build/vllm"
K = 8
AT_ONCE = 16
"""Users."""
MAX_TOKENS = 64
DEADLINE_MS = 300_000
READY_S = 300.0
HELD_OUT_SEED = 77

CONFIG = """
[engines.main]
kind = "vllm"
model = "{model}"
python = "{python}"
max_model_len = 1024
# A vLLM for CPUs pays for the largest rank it may get, with every token; one is enough here.
max_lora_rank = 1
max_loras = 2
max_cpu_loras = 4
max_inflight = 512

[defaults]
temperature = 0.7

[retrain]
lora_rank = 1
lora_alpha = 32
lr = {lr}
epochs = 1
groups_per_step = 4
token_budget = 4096
gradient_checkpointing = false
min_groups = {least_groups}
max_groups = {groups}
seed = {seed}
canary = "off"
# Limits for a billion parameters stop a model of a tenth of that, which has to move further to
# learn; how far it went is for the gate to judge (kl_budget).
[retrain.guards]
m2_stop = 0
ess_stop = 0
entropy_drop = 0

# What is needed are different prompts: those made of the same numbers count once.
[retrain.gate]
file = "{held_out}"
samples = {k}
min_prompts = {least_prompts}
min_slice = 40
# It is to learn to answer at once, and shorter answers are no degeneration here.
ignored_signs = ["short_tokens", "median_tokens", "long_tokens"]
"""


def body_of(question: Question, *, model: str = "auto") -> dict[str, Any]:
    """A user's request that stops at the first proven answer."""
    checked = {"mode": "always", "cache": "off", "deadline_ms": DEADLINE_MS}
    return {
        "model": model,
        "messages": [{"role": "user", "content": question.prompt}],
        "max_tokens": MAX_TOKENS,
        "verify": {**checked, "verifiers": list(question.verifiers)},
    }


def logged_body_of(question: Question) -> dict[str, Any]:
    """All K are drawn, though one that is proven right would do: the night needs the others."""
    body = body_of(question)
    return body | {"n": K, "verify": {**body["verify"], "rule": "fixed", "n": K}}


async def ask(url: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`verification` of each reply."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
        async with turns:
            reply = await client.post("/v1/chat/completions", json=body)
        if reply.status_code != 200:
            raise RuntimeError(f"the gateway said {reply.status_code}: {reply.text[:300]}")
        told: dict[str, Any] = reply.json()["verification"]
        return told

    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_MS / 1000) as client:
        return list(await asyncio.gather(*(one(client, body) for body in bodies)))


def cost(url: str, asked: Sequence[Question]) -> dict[str, Any]:
    """Samples for each solved prompt, as users are answered. Nothing of it is logged."""
    told = asyncio.run(ask(url, [body_of(question) | {"store": False} for question in asked]))
    solved = sum(each["status"] == "verified" for each in told)
    samples = sum(each["samples"] for each in told)
    return {
        "policy": Counter(each["policy"] for each in told).most_common(1)[0][0],
        "prompts": len(told),
        "solved": solved,
        "samples": samples,
        "samples_per_solved": samples / solved if solved else None,
    }


def held_out_file(file: Path, count: int) -> None:
    rows = (
        {
            "prompt": question.prompt,
            "verifiers": list(question.verifiers),
            "max_tokens": MAX_TOKENS,
            "slice": question.family,
            "cluster": question.cluster,
        }
        for question in islice(questions("held_out", HELD_OUT_SEED), count)
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + READY_S
    while httpx.get(f"{url}/readyz", timeout=30).status_code != 200:
        if time.monotonic() > end:
            raise RuntimeError(f"vLLM was not ready within {READY_S:g} s")
        time.sleep(1)


def day(world: World, number: int, count: int, seed: int) -> dict[str, Any]:
    """What users ask before a night, and what came of it."""
    asked = list(islice(questions("train", 100 * seed + number), count))
    name = f"day {number}"
    with world.taking(name):
        told = asyncio.run(ask(world.url, [logged_body_of(question) for question in asked]))
    time.sleep(2)  # the log is written behind the replies
    return {
        "prompts": len(told),
        "verified": sum(each["status"] == "verified" for each in told),
        "policies": dict(Counter(each["policy"] for each in told)),
        "seconds": world.seconds[name],
    }


def night(world: World, number: int) -> dict[str, Any]:
    """One night by `verivote retrain run`, and what its report says."""
    when = datetime.now(UTC).date() + timedelta(days=number - 1)
    name = f"night {number}"
    with world.taking(name):
        wanted = ("--gateway", world.url, "--day", when.isoformat())
        ended = json.loads(run(*VERIVOTE, "retrain", "run", *wanted, "--json"))
    shown = httpx.get(f"{world.url}/v1/admin/retrain/{ended['id']}", timeout=60).json()
    told = read_report(shown["report"]) | {"seconds": world.seconds[name]}
    say(f"  {told['policy']}: {told['status']}, {told['reason']}")
    return told


def read_report(report: dict[str, Any]) -> dict[str, Any]:
    about, gate, training = report["night"], report["gate"], report["training"] or {}
    curve = training.pop("curve", None) or []
    keep = ("step", "reward", "kl", "m2", "ess", "entropy", "grad_norm")
    return {
        **{key: about[key] for key in ("id", "policy", "parent", "objective", "status", "reason")},
        "selection": report["selection"],
        "training": {name: value for name, value in training.items() if name != "folder"},
        "curve": [{key: step.get(key) for key in keep} for step in curve],
        "metrics": {name: gate["metrics"].get(name) for name in METRICS} if gate else {},
        "slices": gate["slices"] if gate else [],
        "checks": {check["name"]: check["reason"] for check in gate["checks"]} if gate else {},
        "phases": report.get("phases"),
    }


def mu_drift(folder: Path, dtype: str) -> dict[str, Any]:
    """Of the rows that the first night trained on, at the weights that drew them."""
    found: dict[str, Any] = json.loads(
        run(sys.executable, "-m", "real_world.drift", str(folder), dtype).splitlines()[-1]
    )
    return found


def measure(folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, folder / "verivote.toml")
    held_out = folder / "held_out.jsonl"
    held_out_file(held_out, arguments.held_out)
    world.config.write_text(
        CONFIG.format(
            model=VLLM / "model",
            python=VLLM / "venv/bin/python",
            groups=arguments.groups,
            least_groups=arguments.groups // 2,
            least_prompts=arguments.held_out // 3,
            lr=arguments.lr,
            seed=seed,
            held_out=held_out,
            k=K,
        )
    )
    users = list(islice(questions("held_out", HELD_OUT_SEED), arguments.users))
    known = ("--config", str(world.config), "--data", str(folder / "data"), "--port", "0")
    days, nights, costs = [], [], []
    begun = time.monotonic()
    with running((*VERIVOTE, "serve", *known), folder / "gateway.log") as line:
        url = next(word for word in line.split() if word.startswith("http"))
        world.url = url.removesuffix("/v1")
        with world.taking("vLLM starts"):
            wait_until_ready(world.url)
        with world.taking("users of base"):
            costs.append(cost(world.url, users))
        for number in range(1, arguments.nights + 1):
            days.append(day(world, number, arguments.asked, seed))
            nights.append(night(world, number))
            if nights[-1]["status"] == "promoted":
                with world.taking(f"users of {nights[-1]['policy']}"):
                    costs.append(cost(world.url, users))
        status = verivote(world, "retrain", "status")
    took = time.monotonic() - begun
    first = folder / "data" / "nights" / nights[0]["id"]
    return {
        "seed": seed,
        "load": [round(each, 1) for each in os.getloadavg()],
        "days": days,
        "nights": nights,
        "users": costs,
        "serving": status["serving"],
        "mu": {dtype: mu_drift(first, dtype) for dtype in ("float32", "bfloat16")},
        "seconds": world.seconds | {"in all": round(took, 1)},
    }


def show(found: dict[str, Any]) -> None:
    machine = f"{found['machine']}; {found['held_out']} held-out prompts, {K} samples each"
    print(f"{machine}; {len(FAMILIES)} families\n")
    print("seed  night  status      policy      greedy          sampled (95 %)                   ")
    for each in found["seeds"]:
        for number, told in enumerate(each["nights"], start=1):
            head = f"{each['seed']:4}  {number:5}  {told['status']:10}  {told['policy']:10}"
            print(head, *(_change(told["metrics"], name) for name in METRICS), sep="  ")
        for told in each["users"]:
            print(
                f"      {told['policy']}: {told['solved']} of {told['prompts']} solved, "
                f"{told['samples']} samples, {told['samples_per_solved']:.2f} for each"
            )
        for dtype, drift in each["mu"].items():
            print(f"      µ against {dtype}: {json.dumps(drift)}")
        print(f"      seconds: {each['seconds']}")
        for told in each["nights"]:
            print(f"      {told['id']}: {told['phases']}")


def _change(metrics: dict[str, Any], name: str) -> str:
    measured = metrics.get(name)
    if not measured:
        return f"{name} -"
    change = f"{measured['delta']:+.3f} ({measured['low']:+.3f} to {measured['high']:+.3f})"
    return f"{name} {measured['incumbent']:.3f} → {measured['candidate']:.3f} {change}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--asked", type=int, default=190, help="prompts of users before each night")
    parser.add_argument("--held-out", type=int, default=205)
    parser.add_argument("--users", type=int, default=80, help="held-out prompts asked by users")
    parser.add_argument("--groups", type=int, default=120, help="of a night at most")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--keep", type=Path, help="work here and keep everything")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "command": "python bench/real_night.py",
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "held_out": arguments.held_out,
        "arguments": {n: v for n, v in vars(arguments).items() if n not in ("keep", "json")},
        "seeds": [],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        for seed in arguments.seeds:
            found["seeds"].append(measure(folder / f"seed-{seed}", seed, arguments))
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1))
    show(found)


if __name__ == "__main__":
    main()
