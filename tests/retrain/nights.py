"""A night's surroundings on SQLite: a log, an engine with adapters, and a trainer that is quick."""

from __future__ import annotations

import random
import stat
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import EngineError
from app.group import Group
from app.retrain.evidence import Outcome
from app.retrain.night import NightParts, claim_night, work_night
from app.settings import RetrainSettings
from app.store import schema
from app.store.database import open_engine
from app.store.nights import NightRow, Nights
from app.store.policies import PolicyTable
from app.store.sql import SqlStore
from tests.retrain.held_out import outcome
from tests.retrain.logged import logged
from tests.store.groups import START

NOON = START + 3_600.0
TRAINER = """#!{python}
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[-1])
job = json.loads((folder / "job.json").read_text())
name, said = job["train"]["name"], {said!r}
print("verivote train: " + said.get("reason", ""), file=sys.stderr)
if {code} not in (0, 4, 5):
    sys.exit({code})
(folder / "metrics.jsonl").write_text(json.dumps({{"step": 0, "reward": 0.5, "kl": 0.02}}) + "\\n")
policy = pathlib.Path(job["out"]) / name
if {code} == 0:
    policy.mkdir(parents=True, exist_ok=True)
    (policy / "weights").write_text(name)
result = {{"outcome": "finished", "reason": "", "folder": str(policy), "steps": 1,
          "sha256": name.ljust(64, "0"), "metrics": {{"seconds": 0.1}}, "canary": None}}
(folder / "result.json").write_text(json.dumps(result | said))
sys.exit({code})
"""


@dataclass
class Adapters:
    """An engine that serves adapters, as far as policies go."""

    loaded: dict[str, Path] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    is_up: bool = True

    async def load_policy(self, name: str, path: Path) -> None:
        self._must_be_up()
        self.calls.append(f"load {name}")
        if name in self.refuses:
            raise EngineError(f"the server refused {name}")
        self.loaded[name] = path

    async def unload_policy(self, name: str) -> None:
        self._must_be_up()
        self.calls.append(f"unload {name}")
        del self.loaded[name]

    async def policies(self) -> tuple[str, ...]:
        self._must_be_up()
        return tuple(self.loaded)

    def _must_be_up(self) -> None:
        if not self.is_up:
            raise EngineError("the server is away")


@dataclass
class World:
    """All of it."""

    parts: NightParts
    database: AsyncEngine
    settings: RetrainSettings
    adapters: Adapters
    told: list[str]
    accuracy: dict[str, float]
    """Of each model, on the held-out prompts."""
    now: list[float]

    @property
    def policies(self) -> PolicyTable:
        return self.parts.policies

    async def night(self, day: int = 0, **changes: Any) -> NightRow:
        """Claim and run the night of that day after the first."""
        from app.retrain.night import today

        settings = RetrainSettings.model_validate({**self.settings.model_dump(), **changes})
        date = today(START + 86_400 * day)
        claim = await claim_night(self.parts, settings, date, again=True)
        assert claim.won, claim.night
        return await work_night(claim.night, self.parts)


def fake_trainer(folder: Path, code: int = 0, **said: Any) -> str:
    """An interpreter that pretends to train; it ends with `code` and says this of the run."""
    import sys

    path = folder / f"python-{code}"
    path.write_text(TRAINER.format(python=sys.executable, code=code, said=said))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def some_groups(count: int, **changes: Any) -> list[Group]:
    """Mixed groups of the base model."""
    return [logged(i, policy="smol", **changes).group for i in range(count)]


@asynccontextmanager
async def world(folder: Path, groups: Iterable[Group] = (), **retrain: Any) -> AsyncIterator[World]:
    url = f"sqlite+aiosqlite:///{folder / 'verivote.db'}"
    now = [NOON]
    await schema.upgrade(url)
    store = SqlStore(url, folder / "spool.db", clock=lambda: now[0])
    await store.start()
    for group in groups:
        await store.append(group)
    await store.close()
    base = folder / "base"
    base.mkdir(exist_ok=True)
    settings = RetrainSettings.model_validate(
        {
            "base": str(base),
            "min_groups": 8,
            "python": fake_trainer(folder),
            "gate": {"min_prompts": 150},
            "canary": "off",
            **retrain,
        }
    )
    adapters, told = Adapters(), list[str]()
    accuracy = {"smol": 0.4, "policy-1": 0.7, "policy-2": 0.75, "policy-3": 0.75}

    async def evaluate(policy: str, seed: int) -> tuple[Outcome, ...]:
        rng = random.Random(policy)
        return tuple(outcome(n, rng, accuracy[policy]) for n in range(200))

    async def base_model() -> str:
        return "smol"

    database = open_engine(url)
    parts = NightParts(
        database_url=url,
        nights=Nights(database),
        policies=PolicyTable(database),
        base_model=base_model,
        engine_model="",
        load=adapters.load_policy,
        evaluate=evaluate,
        verifiers={"calculator": "1"},
        data=folder,
        owner="one",
        clock=lambda: now[0],
        tell=told.append,
    )
    try:
        yield World(
            parts=parts,
            database=database,
            settings=settings,
            adapters=adapters,
            told=told,
            accuracy=accuracy,
            now=now,
        )
    finally:
        await database.dispose()


def owned_by(world: World, owner: str) -> NightParts:
    """The same surroundings of another process."""
    return replace(world.parts, owner=owner)


def why_left_out(night: NightRow) -> Mapping[str, int]:
    assert night.report is not None
    counts: Mapping[str, int] = night.report["selection"]["left_out"]
    return counts
