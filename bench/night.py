"""Two nights on a small world, a bad one that the gate refuses, and a way back: all of it real.

A Llama of 0.64 M parameters is taught to work sums out and then to answer at once most of the time
(bench/small_world). A server samples from it behind a real gateway; its users' prompts are logged
with their verdicts; `verivote retrain run` trains, compares and promotes. The second night is run
twice on the same log, that of the first night's policy: with the naive objective, which the gate
refuses, and with the usual one. Then the policy is taken back, and the time is taken until replies
carry the old one.

Every number is of held-out prompts answered through the gateway's own path, from the report of the
night that compared them: greedy is one answer a prompt at temperature 0, sampled the mean of eight
at temperature 1. Intervals are a bootstrap over prompts (95 %), of the change where two are
compared.

    python bench/night.py [--prompts 512] [--held-out 256] [--seed 0] [--keep DIR] [--json OUT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from small_world.task import answer_of, prompts

ROOT = Path(__file__).resolve().parents[1]
VERIVOTE = (sys.executable, "-c", "from app.cli import main; main()")
K = 8
AT_ONCE = 12
"""Users."""
FOLLOWS_S = 3.0
"""Gateways follow a change of policies within a second; after so long they have."""
METRICS = ("greedy", "pass_at_1", "vote", "verified", "tokens")

CONFIG = """
[engines.main]
base_url = "{upstream}"
model = "small"

[defaults]
temperature = 1.0

[retrain]
base = "{base}"
lora_rank = 0
dtype = "float32"
lr = 3e-4
epochs = 2
min_groups = 64
max_groups = {groups}
threads = {threads}
canary = "off"

# Limits for a billion parameters stop a model of a million that learns well (docs/trainer.md).
[retrain.guards]
m2_stop = 0
ess_stop = 0
entropy_drop = 0
grad_spike = 0

[retrain.gate]
file = "{held_out}"
samples = {k}
min_prompts = 100
# It is to learn to say more, and its texts are digits: what that changes is no degeneration here.
ignored_signs = {ignored}
"""
IGNORED = ("short_tokens", "median_tokens", "long_tokens")


@dataclass
class World:
    """The running parts and what was measured."""

    folder: Path
    config: Path
    url: str = ""
    quiet_since: float = field(default_factory=lambda: time.time() - 3_600)
    """When the last users had their answers; Unix seconds."""
    seconds: dict[str, float] = field(default_factory=dict)
    nights: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def taking(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        say(name)
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - begun, 1)


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def environment(**more: str) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("VERIVOTE__", "OPENAI_"))}
    return {**kept, **more, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}"}


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[str]:
    """A process while the block lasts, and the first line that it prints."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line:
            raise RuntimeError(
                f"{' '.join(command[1:4])} did not start:\n{log.read_text()[-2000:]}"
            )
        yield line
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(*command: str, **variables: str) -> str:
    """Standard output. Raises with what went wrong."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**variables))
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-8:])}: {done.stdout[-500:]}{done.stderr[-2000:]}")
    return done.stdout


def verivote(world: World, *arguments: str, **variables: str) -> Any:
    known = ("--config", str(world.config), "--data", str(world.folder / "data"))
    return json.loads(run(*VERIVOTE, *arguments, *known, "--json", **variables))


def held_out_file(file: Path, count: int, seed: int) -> None:
    rows = [
        {"prompt": prompt, "verifiers": [verifier_of(prompt)]}
        for prompt in islice(prompts(seed, held_out=True), count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def verifier_of(prompt: str) -> dict[str, str]:
    return {"use": "number", "reference": answer_of(prompt), "extract": "hash"}


def body_of(prompt: str, n: int = K) -> dict[str, Any]:
    """All n are drawn, though one that is proven right would do: the night needs the others."""
    checked = {"mode": "always", "rule": "fixed", "n": n, "cache": "off"}
    return {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "n": n,
        "verify": {**checked, "verifiers": [verifier_of(prompt)]},
    }


async def send(url: str, asked: Sequence[str]) -> float:
    """Ask as users do; the share of proven answers."""
    turns, verified = asyncio.Semaphore(AT_ONCE), 0

    async def one(client: httpx.AsyncClient, prompt: str) -> None:
        nonlocal verified
        async with turns:
            reply = await client.post("/v1/chat/completions", json=body_of(prompt))
        if reply.status_code != 200:
            raise RuntimeError(f"the gateway said {reply.status_code}: {reply.text[:300]}")
        verified += reply.json()["verification"]["status"] == "verified"

    async with httpx.AsyncClient(base_url=url, timeout=300) as client, asyncio.TaskGroup() as users:
        for prompt in asked:
            users.create_task(one(client, prompt))
    return verified / len(asked)


def served_by(url: str) -> str:
    """The policy that a reply carries."""
    reply = httpx.post(f"{url}/v1/chat/completions", json=body_of("1p1p1p1p1=", 1), timeout=60)
    reply.raise_for_status()
    return str(reply.json()["verification"]["policy"])


def users(world: World, number: int, count: int, seed: int) -> float:
    """They ask what no night has seen; since when nobody else has asked, in Unix seconds."""
    asked = list(islice(prompts(1_000 * seed + number, held_out=False), count))
    since = world.quiet_since
    with world.taking(f"users before night {number}"):
        asyncio.run(send(world.url, asked))
        world.quiet_since = time.time()
        time.sleep(2)  # the log is written behind the replies
    return since


def night(world: World, number: int, objective: str, since: float) -> None:
    """A night on what was logged since then: its report goes into `world.nights`.

    It counts back from when it begins, which may be as long after this as `since` lies before the
    first request: some twenty seconds, the time of the night before.
    """
    day = datetime.now(UTC).date() + timedelta(days=len(world.nights))
    with world.taking(f"night {number} ({objective})"):
        window = {"VERIVOTE__RETRAIN__WINDOW_DAYS": str((time.time() - since) / 86_400)}
        wanted = ("--day", day.isoformat(), "--objective", objective)
        ended = verivote(world, "retrain", "run", *wanted, **window)
    shown = httpx.get(f"{world.url}/v1/admin/retrain/{ended['id']}", timeout=60).json()
    time.sleep(FOLLOWS_S)
    told = read_report(shown["report"])
    world.nights.append({"number": number, **told, "serves_after": served_by(world.url)})
    say(f"  {told['policy']}: {told['status']}, {told['reason']}")


def read_report(report: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a night."""
    about, gate, training = report["night"], report["gate"], report["training"] or {}
    curve = training.get("curve") or []
    last = [step["kl"] for step in curve[-5:] if step.get("kl") is not None]
    metrics = gate["metrics"] if gate else {}
    return {
        **{key: about[key] for key in ("id", "policy", "parent", "objective", "status", "reason")},
        "groups": (report["selection"] or {}).get("groups"),
        "seen": (report["selection"] or {}).get("seen"),
        "steps": len(curve),
        "kl": sum(last) / len(last) if last else None,
        "m2": max((step["m2"] for step in curve if step.get("m2") is not None), default=None),
        "metrics": {name: metrics[name] for name in METRICS if name in metrics},
        "checks": {check["name"]: check["passed"] for check in gate["checks"]} if gate else {},
        "whys": {check["name"]: check["reason"] for check in gate["checks"]} if gate else {},
        "phases": report.get("phases"),
    }


def roll_back(world: World) -> dict[str, Any]:
    """From the command's start, and from its end, until a reply carries the parent."""
    before = served_by(world.url)
    begun = time.monotonic()
    done: dict[str, Any] = {}

    def command() -> None:
        done.update(verivote(world, "retrain", "rollback"))
        done["at"] = time.monotonic()

    thread = threading.Thread(target=command)
    thread.start()
    now, seen = before, 0.0
    while now == before and time.monotonic() - begun < 120:
        now, seen = served_by(world.url), time.monotonic()
        time.sleep(0.05)
    thread.join()
    return {
        "from": before,
        "to": now,
        "command_s": round(done["at"] - begun, 2),
        "until_served_s": round(seen - begun, 2),
        "after_command_s": round(max(0.0, seen - done["at"]), 2),
    }


class Memory:
    """The most that this process and its descendants held together, looked at twice a second."""

    def __init__(self) -> None:
        self.most_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            try:
                self.most_mb = max(self.most_mb, resident_mb(os.getpid()))
            except OSError:
                continue


def resident_mb(root: int) -> float:
    """Resident memory of a process and all that it started; 0 where there is no /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    ours, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours, grew = ours | more, bool(more)
    total = 0.0
    for pid in ours:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return total


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    world = World(folder, folder / "verivote.toml")
    base, held_out = folder / "base", folder / "held_out.jsonl"
    memory, begun = Memory(), time.monotonic()
    module = (sys.executable, "-m")
    taught: dict[str, Any] = {}
    with world.taking("teach the base model"):
        if not (base / "config.json").exists():
            command = (*module, "small_world.model", str(base), "--seed", str(arguments.seed))
            taught = json.loads(run(*command).splitlines()[-1])
    held_out_file(held_out, arguments.held_out, seed=77)
    server = (*module, "small_world.server", str(base))
    with running(server, folder / "server.log") as upstream:
        world.config.write_text(
            CONFIG.format(
                upstream=upstream,
                base=base,
                groups=arguments.prompts * 2,
                threads=arguments.threads,
                held_out=held_out,
                k=K,
                ignored=json.dumps(IGNORED),
            )
        )
        known = ("--config", str(world.config), "--data", str(folder / "data"), "--port", "0")
        with running((*VERIVOTE, "serve", *known), folder / "gateway.log") as line:
            world.url = next(word for word in line.split() if word.startswith("http"))
            world.url = world.url.removesuffix("/v1")
            since = users(world, 1, arguments.prompts, arguments.seed)
            night(world, 1, "tapered", since)
            since = users(world, 2, arguments.prompts, arguments.seed)
            night(world, 2, "reinforce", since)
            night(world, 2, "tapered", since)
            with world.taking("roll back"):
                back = roll_back(world)
    memory.stop()
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "command": " ".join(["python", "bench/night.py", "--seed", str(arguments.seed)]),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
        "arguments": {name: str(value) for name, value in vars(arguments).items()},
        "taught": taught,
        "nights": world.nights,
        "rollback": back,
        "seconds": world.seconds,
        "seconds_in_all": round(time.monotonic() - begun, 1),
        "cpu_s": round(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]), 1),
        "largest_process_mb": round(most),
        "all_processes_mb": round(memory.most_mb),
    }


def show(found: dict[str, Any]) -> None:
    first = found["nights"][0]["metrics"]
    print(
        f"{found['machine']}, load {found['load']}; {found['seconds_in_all']:.0f} s in all "
        f"({found['cpu_s']:.0f} s of processors)\n"
        f"largest process {found['largest_process_mb']} MB, "
        f"all together {found['all_processes_mb']} MB"
    )
    prompts_of = first["pass_at_1"]["prompts"] if first else 0
    print(f"{prompts_of} held-out prompts, {K} samples each\n")
    print(
        "night  objective  policy    outcome    greedy  sampled  change of sampled (95 %)   "
        "    KL  serves after"
    )
    if first:
        numbers = f"{first['greedy']['incumbent']:6.3f}  {first['pass_at_1']['incumbent']:7.3f}"
        print(f"    -  -          base      serves     {numbers}")
    for each in found["nights"]:
        head = f"{each['number']:5}  {each['objective']:9}  {each['policy']:8}  {each['status']:9}"
        if not each["metrics"]:
            print(f"{head}  {each['reason']}")
            continue
        greedy, sampled = each["metrics"]["greedy"], each["metrics"]["pass_at_1"]
        change = f"{sampled['delta']:+.3f} ({sampled['low']:+.3f} to {sampled['high']:+.3f})"
        kl = "-" if each["kl"] is None else f"{each['kl']:.3f}"
        print(
            f"{head}  {greedy['candidate']:6.3f}  {sampled['candidate']:7.3f}  {change:26} {kl:>6}"
            f"  {each['serves_after']}"
        )
    print("\nnight  objective  groups  steps  seconds")
    for each in found["nights"]:
        phases = ", ".join(f"{name} {took:.1f}" for name, took in (each["phases"] or {}).items())
        head = f"{each['number']:5}  {each['objective']:9}"
        print(f"{head}  {each['groups'] or 0:6}  {each['steps']:5}  {phases}")
    for each in found["nights"]:
        if each["status"] != "promoted":
            print(f"\n{each['policy']} ({each['objective']}) is {each['status']}:")
            for name, passed in each["checks"].items():
                if not passed:
                    print(f"  {name}: {each['whys'][name]}")
    back = found["rollback"]
    print(
        f"rollback {back['from']} → {back['to']}: the command takes {back['command_s']} s, replies "
        f"carry {back['to']} {back['after_command_s']} s after it ended"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=512, help="of users, before each night")
    parser.add_argument("--held-out", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of the trainer")
    parser.add_argument("--keep", type=Path, help="work here and keep everything")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        found = measure(arguments.keep.resolve(), arguments)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), arguments)
    show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
