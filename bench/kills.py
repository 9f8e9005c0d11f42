"""Killed on purpose: the trainer at random steps, the gateway while the policy that serves changes.

A training job is run once to its end. Then, ten times from the start, it is killed (SIGKILL) at a
random moment after a random step and started again; its weights are compared byte by byte.

`verivote serve` stands before a model server that loads adapters; the first policy serves, and
users ask all the time. A night that ends in a promotion, one that ends in a canary which traffic
then promotes, or a rollback is begun and, at a random moment of the time that it takes when left
alone, the gateway is killed (with the command that rolls back, where there is one) and started
again. Every other time the model server has lost its adapters meanwhile. From then on no reply may
fail; whoever answers must be the policy that the table names as active or its canary, with its
files there and loaded, and at most one may be active.

Model server and night's trainer are the tests' fakes, so that a round takes seconds; gateway,
database and commands are the real ones. Training on the other half of the bench is the real one.

    python bench/kills.py [--kills 10] [--seed 0] [--json OUT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from app.store import schema  # noqa: E402
from app.store.database import open_engine  # noqa: E402
from app.store.nights import Nights  # noqa: E402
from app.store.policies import Policy, PolicyTable  # noqa: E402
from tests.cli.command import COMMAND, environment, serving  # noqa: E402
from tests.e2e.test_night_of_a_gateway import ask, held_out  # noqa: E402
from tests.e2e.test_policies_served import a_policy  # noqa: E402
from tests.fakes.replica import Replica  # noqa: E402
from tests.fakes.upstream import FakeUpstream, Request, Steps, scripted  # noqa: E402
from tests.retrain.nights import fake_trainer  # noqa: E402

Change = Literal["promotion", "canary", "rollback"]
CHANGES: tuple[Change, ...] = ("promotion", "canary", "rollback")
USERS = 3
LARGE = 39
"""Users multiply numbers above this; neither log nor held-out prompts do."""
ASKED_AFTER = 24
"""Requests at once, as soon as the gateway is back."""
PATIENCE_S = 180.0

CONFIG = """
[engines.main]
base_url = "{upstream}"

[defaults]
temperature = 1.0

[retrain]
base = "{base}"
python = "{python}"
min_groups = 16

[retrain.canary]
share = {share}
min_requests = 5

[retrain.gate]
file = "{held_out}"
samples = 4
min_prompts = 40
"""


# The trainer ------------------------------------------------------------------------------------


def kill_trainers(folder: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Needs torch."""
    from tests.retrain.test_train import run, run_and_kill, steps_of, weights
    from tests.retrain.tiny import make_model, make_rows, save_model, write_job

    base, rows = save_model(folder / "base"), make_rows(make_model(), groups=24)
    job: dict[str, Any] = {"epochs": 5, "checkpoint_every": 4}
    whole = write_job(folder / "whole", base, rows, **job)
    if run(whole) != 0:
        raise RuntimeError("the job did not end well without any kill")
    wanted, steps = weights(whole), len(steps_of(whole))
    found = []
    for number in range(kills):
        killed = write_job(folder / f"killed-{number}", base, rows, **job)
        step = rng.randrange(1, steps - 1)
        was_running = run_and_kill(killed, step, delay_s=rng.random() * 0.05)
        at_kill = len(steps_of(killed))
        code = run(killed)
        found.append(
            {
                "killed_while_running": was_running,
                "steps_at_kill": at_kill,
                "exit_code": code,
                "same_steps": steps_of(killed) == steps_of(whole),
                "same_bytes": code == 0 and weights(killed) == wanted,
            }
        )
    return {"steps": steps, "bytes": len(wanted), "kills": found}


# The gateway ------------------------------------------------------------------------------------


@dataclass
class Round:
    """One gateway on a data folder of its own, and what its users saw."""

    folder: Path
    config: Path
    replica: Replica
    url: str = ""
    is_back: bool = False
    codes: Counter[str] = field(default_factory=Counter)
    """Of replies after the kill."""
    answered: Counter[str] = field(default_factory=Counter)
    """Policies of those."""
    degraded: int = 0
    gateway: ExitStack = field(default_factory=ExitStack)

    @property
    def known(self) -> tuple[str, ...]:
        return ("--config", str(self.config), "--data", str(self.folder))

    async def start(self) -> None:
        self.process, line = await asyncio.to_thread(
            self.gateway.enter_context, serving(*self.known, "--port", "0")
        )
        self.url = line.split(" serves ")[1].split("/v1")[0]

    def kill(self) -> None:
        self.process.kill()

    async def stop(self) -> None:
        await asyncio.to_thread(self.gateway.close)

    async def post(self, prompt: str) -> None:
        """As a user does; what is said is counted once the gateway is back."""
        counts = self.is_back
        messages = [{"role": "user", "content": prompt}]
        body = {"model": "auto", "messages": messages, "verify": {"cache": "off"}}
        try:
            async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
                reply = await client.post("/v1/chat/completions", json=body)
        except httpx.HTTPError as lost:
            await asyncio.sleep(0.05)
            if counts:
                self.codes[type(lost).__name__] += 1
            return
        if not counts:
            return
        self.codes[str(reply.status_code)] += 1
        if reply.status_code == 200:
            told = reply.json()["verification"]
            self.answered[told["policy"]] += 1
            self.degraded += "policy" in told["degraded"]

    async def serves(self) -> str:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            return str((await ask(client, "What is 17 * 19?"))["policy"])


@dataclass(frozen=True)
class Table:
    """What the database says of policies and of the newest night."""

    statuses: dict[str, str]
    paths: dict[str, str | None]
    night: str

    def named(self, status: str) -> list[str]:
        return [name for name, of in self.statuses.items() if of == status]


async def read_table(folder: Path) -> Table:
    async def read(policies: PolicyTable, nights: Nights) -> Table:
        known, rows = await policies.list(), await nights.list("main")
        night = f"{rows[0].status} {rows[0].phase or ''}".strip() if rows else "none"
        return Table({p.name: p.status for p in known}, {p.name: p.path for p in known}, night)

    return await with_tables(folder, read)


async def with_tables(
    folder: Path, work: Callable[[PolicyTable, Nights], Awaitable[Table]]
) -> Table:
    engine = open_engine(f"sqlite+aiosqlite:///{folder / 'verivote.db'}")
    try:
        return await work(PolicyTable(engine), Nights(engine))
    finally:
        await engine.dispose()


def multiplies(request: Request) -> Steps:
    """The second policy is right with every sample; others with one of four, and with none where
    both factors are large, as users' are: a canary is promoted because those fail."""
    asked = request.body
    a, b = map(int, re.findall(r"\d+", asked["messages"][-1]["content"])[:2])
    right = asked["model"] == "policy-2"
    words = ("Let us see", "Step by step", "Carefully now", "A product it is")
    texts = []
    for place, said in enumerate(words):
        off = 0 if right else place + (min(a, b) > LARGE)
        texts.append(f"{said} for {a} and {b} it is {a * b + off}")
    return scripted(*texts, extras=True)(request)


@asynccontextmanager
async def users_of(here: Round) -> AsyncIterator[None]:
    async def user(number: int) -> None:
        rng = random.Random(number)
        while True:
            await here.post(
                f"What is {rng.randrange(LARGE + 1, 99)} * {rng.randrange(LARGE + 1, 99)}?"
            )
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(user(number)) for number in range(USERS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Rounds:
    """Makes rounds from a folder in which the first policy serves and has a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "base").mkdir()
        self._made = 0

    @asynccontextmanager
    async def another(self, like: Path | None, *, share: float = 0.0) -> AsyncIterator[Round]:
        """A round that starts where the data folder `like` stopped; None: at nothing."""
        self._made += 1
        data = self.folder / f"data-{self._made}"
        if like is not None:
            await asyncio.to_thread(shutil.copytree, like, data)
        async with FakeUpstream(multiplies) as fake:
            config = self.folder / f"{self._made}.toml"
            config.write_text(
                CONFIG.format(
                    upstream=fake.url,
                    base=self.folder / "base",
                    python=fake_trainer(self.folder),
                    share=share,
                    held_out=held_out(self.folder),
                )
            )
            here = Round(data, config, Replica(fake))
            try:
                yield here
            finally:
                await here.stop()

    async def first_policy(self) -> Path:
        """Its data folder: `policy-1` serves, and has answered what a night can learn from."""
        async with self.another(None) as here:
            here.folder.mkdir()
            await schema.upgrade(f"sqlite+aiosqlite:///{here.folder / 'verivote.db'}")

            async def fill(policies: PolicyTable, nights: Nights) -> Table:
                policy: Policy = a_policy(1, self.folder)
                await policies.add(policy)
                await policies.activate(policy.name, now=time.time())
                return Table({}, {}, "")

            await with_tables(here.folder, fill)
            await here.start()
            async with httpx.AsyncClient(base_url=here.url, timeout=60) as client:
                for number in range(2, 26):
                    await ask(client, f"What is {number} * 12?", 4)
                await client.get("/v1/traces")  # what was answered is in the database now
            return here.folder


async def begin(here: Round, change: Change) -> subprocess.Popen[bytes] | None:
    """The command that does it, where it is not the gateway itself."""
    if change == "rollback":
        command = (*COMMAND, "retrain", "rollback", *here.known)
        return await asyncio.to_thread(
            lambda: subprocess.Popen(
                command,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    async with httpx.AsyncClient(base_url=here.url, timeout=60) as client:
        (await client.post("/v1/admin/retrain")).raise_for_status()
    return None


async def left_alone(rounds: Rounds, like: Path, change: Change) -> tuple[float, Path]:
    """Seconds until the change is over and followed, and the folder that it leaves."""
    after = "policy-1" if change == "rollback" else "policy-2"
    async with rounds.another(like, share=0.5 if change == "canary" else 0.0) as here:
        await here.start()
        async with users_of(here):
            begun = time.monotonic()
            command = await begin(here, change)
            while True:
                table = await read_table(here.folder)
                if table.named("active") == [after] and await here.serves() == after:
                    break
                if time.monotonic() - begun > PATIENCE_S:
                    raise RuntimeError(f"the {change} was not over in time: {table}")
                await asyncio.sleep(0.05)
            took = time.monotonic() - begun
        if command is not None:
            await asyncio.to_thread(command.wait)
        return took, here.folder


async def killed(
    rounds: Rounds, like: Path, change: Change, *, at_s: float, forgets: bool
) -> dict[str, Any]:
    """Kill the gateway so long after the change began, start it again, and look."""
    async with rounds.another(like, share=0.5 if change == "canary" else 0.0) as here:
        await here.start()
        async with users_of(here):
            command = await begin(here, change)
            await asyncio.sleep(at_s)
            here.kill()
            if command is not None:
                command.kill()
                await asyncio.to_thread(command.wait)
            await here.stop()
            left = await read_table(here.folder)
            if forgets:
                here.replica.loaded.clear()
            await here.start()
            here.is_back = True
            again = (here.post(f"What is {n} * 31?") for n in range(ASKED_AFTER))
            await asyncio.gather(*again)
            now = await read_table(here.folder)
        return {
            "change": change,
            "at_s": round(at_s, 2),
            "server_forgot": forgets,
            "night": left.night,
            "left": left.statuses,
            "codes": dict(here.codes),
            "answered_by": dict(here.answered),
            "degraded": here.degraded,
            "faults": faults_of(here, left, now),
        }


def faults_of(here: Round, left: Table, now: Table) -> list[str]:
    """What must not be."""
    faults = []
    serving: set[str] = set()
    for table in (left, now):
        if len(table.named("active")) != 1 or len(table.named("canary")) > 1:
            faults.append(f"not one policy is active: {table.statuses}")
        serving |= {*table.named("active"), *table.named("canary")}
    for name in {*now.named("active"), *now.named("canary")}:
        path = now.paths[name]
        if path is None or not Path(path).is_dir():
            faults.append(f"{name} serves and has no files in {path}")
        if here.replica.loaded.get(name) != path:
            faults.append(f"{name} serves and is not loaded")
    if others := set(here.answered) - serving:
        faults.append(f"answered by {sorted(others)}, and {sorted(serving)} serve")
    if bad := {code: n for code, n in here.codes.items() if code != "200"}:
        faults.append(f"replies that failed: {bad}")
    if here.degraded:
        faults.append(f"{here.degraded} replies came from an older policy than the active one")
    return faults


async def kill_gateways(folder: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    rounds = Rounds(folder)
    first = await rounds.first_policy()
    spans: dict[Change, float] = {}
    spans["promotion"], second = await left_alone(rounds, first, "promotion")
    spans["canary"], _ = await left_alone(rounds, first, "canary")
    spans["rollback"], _ = await left_alone(rounds, second, "rollback")
    found = []
    for number in range(kills):
        change = CHANGES[number % len(CHANGES)]
        like = second if change == "rollback" else first
        at_s = rng.random() * spans[change]
        told = await killed(rounds, like, change, at_s=at_s, forgets=number % 2 == 1)
        say(
            f"{change} killed after {at_s:.2f} s, night {told['night']}: {told['faults'] or 'fine'}"
        )
        found.append(told)
    return {"seconds_left_alone": {k: round(s, 2) for k, s in spans.items()}, "kills": found}


# What came out ----------------------------------------------------------------------------------


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def show(found: dict[str, Any]) -> None:
    trainer, gateway = found["trainer"]["kills"], found["gateway"]["kills"]
    same = sum(each["same_bytes"] and each["same_steps"] for each in trainer)
    at = ", ".join(str(each["steps_at_kill"]) for each in trainer)
    print(f"{found['machine']}, load {found['load']}; {found['seconds']:.0f} s in all\n")
    print(
        f"trainer: killed {sum(each['killed_while_running'] for each in trainer)} times, after "
        f"steps {at} of {found['trainer']['steps']}; the same weights and steps: {same} of "
        f"{len(trainer)}\n"
    )
    print("gateway   killed in            kills  replies after  failed  faults")
    for change in CHANGES:
        own = [each for each in gateway if each["change"] == change]
        codes: Counter[str] = sum((Counter(each["codes"]) for each in own), Counter())
        span = f"{change} of {found['gateway']['seconds_left_alone'][change]:.1f} s"
        failed = codes.total() - codes["200"]
        faults = sum(len(each["faults"]) for each in own)
        print(f"          {span:20} {len(own):5}  {codes.total():13}  {failed:6}  {faults:6}")
    for fault in (fault for each in gateway for fault in each["faults"]):
        print(f"fault: {fault}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    # Writing to a gateway that was killed is what the fake server is here to do.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    rng, begun = random.Random(arguments.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "trainer").mkdir()
        (Path(folder) / "gateway").mkdir()
        trainer = kill_trainers(Path(folder) / "trainer", arguments.kills, rng)
        gateway = asyncio.run(kill_gateways(Path(folder) / "gateway", arguments.kills, rng))
    found = {
        "command": f"python bench/kills.py --kills {arguments.kills} --seed {arguments.seed}",
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
        "seconds": round(time.monotonic() - begun, 1),
        "trainer": trainer,
        "gateway": gateway,
    }
    show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
