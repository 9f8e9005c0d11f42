"""The canary is judged by the log, once, and its night says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.group import Group
from app.retrain.promotion import HOUR_S, CanaryWatch, count, promote, roll_back
from app.retrain.rollout import CanaryCounts
from app.settings import ShareSettings
from app.store import schema
from app.store.policies import Policy
from app.store.sql import SqlStore
from tests.postgres import Server
from tests.retrain.nights import NOON, World, some_groups, world
from tests.store.groups import failed_group, make_group, trace_id_at

SHARE = {"share": 0.5, "min_requests": 20, "max_requests": 500, "worst_ratio": 1.5}


def answered(number: int, policy: str, *, right: bool, **task: Any) -> Group:
    at = NOON + 1 + number / 100
    group = make_group(
        at,
        answers=("42",) if right else ("41",),
        plan={"policy": policy},
        task={"trace_id": trace_id_at(at, number), **task},
    )
    assert group.decision is not None
    status = "verified" if right else "unverified"
    return replace(group, decision=replace(group.decision, status=status))


async def log_of(folder: Path, groups: Iterable[Group]) -> None:
    url = f"sqlite+aiosqlite:///{folder / 'verivote.db'}"
    store = SqlStore(url, folder / "spool.db", clock=lambda: NOON)
    await store.start()
    for group in groups:
        await store.append(group)
    await store.close()


def traffic(canary_wrong: int, base_wrong: int, each: int = 100) -> list[Group]:
    return [
        answered(2 * n + odd, policy, right=n >= wrong)
        for odd, (policy, wrong) in enumerate((("policy-1", canary_wrong), ("smol", base_wrong)))
        for n in range(each)
    ]


async def a_canary(here: World) -> None:
    night = await here.night()
    assert night.status == "canary"


def watch(here: World) -> CanaryWatch:
    return CanaryWatch(here.database, ShareSettings(**SHARE), clock=lambda: here.now[0])


async def test_what_counts_is_what_chance_sent_there(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30), canary=SHARE) as here:
        await a_canary(here)
        policy = await here.policies.get("policy-1")
        gone = failed_group(NOON + 3, plan={"policy": "policy-1"})
        assert gone.error is not None
        hit = answered(5, "policy-1", right=False)
        await log_of(
            tmp_path,
            [
                answered(1, "policy-1", right=True),
                answered(2, "policy-1", right=False),
                failed_group(
                    NOON + 2,
                    plan={"policy": "policy-1"},
                    task={"trace_id": trace_id_at(NOON + 2, 3)},
                ),
                answered(4, "smol", right=False),
                # Not these: from the cache, by name, of a client that left, before it began.
                replace(hit, cache=replace(hit.cache, hit=True)),
                answered(6, "policy-1", right=False, model="policy-1"),
                replace(gone, error=replace(gone.error, code="client_closed_request")),
                make_group(NOON - 9, plan={"policy": "smol"}),
            ],
        )
        counts = await count(here.database, policy, since=NOON)

    assert counts == CanaryCounts(
        canary_requests=3, canary_failures=2, incumbent_requests=1, incumbent_failures=1
    )


@pytest.mark.postgres
async def test_postgres_counts_the_same(tmp_path: Path, postgres: Server) -> None:
    url = postgres.new_database()
    await schema.upgrade(url)
    store = SqlStore(url, tmp_path / "spool.db", clock=lambda: NOON)
    await store.start()
    for group in (answered(1, "policy-1", right=False), answered(2, "smol", right=True)):
        await store.append(group)
    await store._drainer.settle(within_s=10)
    policy = Policy(
        name="policy-1",
        engine="main",
        parent=None,
        base_model="smol",
        path=None,
        sha256=None,
        created_at=NOON,
    )
    counts = await count(store.engine, policy, since=NOON)
    await store.close()

    assert counts == CanaryCounts(canary_requests=1, canary_failures=1, incumbent_requests=1)


@pytest.mark.parametrize(
    ("wrong", "status", "ends"),
    [((4, 40), "active", "promoted"), ((60, 5), "refused", "rolled_back")],
)
async def test_the_log_decides_and_the_night_says_so(
    tmp_path: Path, wrong: tuple[int, int], status: str, ends: str
) -> None:
    async with world(tmp_path, some_groups(30), canary=SHARE) as here:
        await a_canary(here)
        await log_of(tmp_path, traffic(*wrong))
        await asyncio.gather(*(watch(here).turn() for _ in range(3)))
        policy = await here.policies.get("policy-1")
        (night,) = await here.parts.nights.list()

    assert policy is not None
    assert night.report is not None
    assert (policy.status, night.status) == (status, ends)
    assert night.report["night"]["status"] == ends
    assert night.report["canary"]["counts"]["canary_failures"] == wrong[0]
    assert f"failed {wrong[0]} of 100" in night.report["night"]["reason"]


async def test_while_it_is_open_nothing_happens(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30), canary=SHARE) as here:
        await a_canary(here)
        await log_of(tmp_path, traffic(5, 5, each=15))
        await watch(here).turn()
        policy = await here.policies.get("policy-1")

    assert policy is not None
    assert policy.status == "canary"


@pytest.mark.parametrize(("wrong", "status"), [((5, 5), "active"), ((5, 2), "refused")])
async def test_when_its_time_is_over_the_likelier_is_taken(
    tmp_path: Path, wrong: tuple[int, int], status: str
) -> None:
    async with world(tmp_path, some_groups(30), canary=SHARE) as here:
        await a_canary(here)
        await log_of(tmp_path, traffic(*wrong, each=15))
        here.now[0] = NOON + 2 * HOUR_S + 1
        await watch(here).turn()
        policy = await here.policies.get("policy-1")
        (night,) = await here.parts.nights.list()

    assert policy is not None
    assert night.report is not None
    assert policy.status == status
    assert "its 2 hours are over" in night.report["night"]["reason"]


async def test_a_canary_that_was_switched_off_serves(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30), canary=SHARE) as here:
        await a_canary(here)
        off = ShareSettings(share=0.0)
        await CanaryWatch(here.database, off, clock=lambda: here.now[0]).turn()
        policy = await here.policies.get("policy-1")
        (night,) = await here.parts.nights.list()

    assert policy is not None
    assert (policy.status, night.status) == ("active", "promoted")


async def test_a_person_takes_a_policy_back_and_the_night_says_so(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30)) as here:
        await here.night()
        nights = here.parts.nights
        gone, serves = await roll_back(here.policies, nights, "main", now=NOON + 9)
        (night,) = await nights.list()
        back = await promote(here.policies, nights, "policy-1", now=NOON + 10)
        (again,) = await nights.list()

    assert (gone.name, serves, back.status) == ("policy-1", None, "active")
    assert (night.status, again.status) == ("rolled_back", "promoted")
    assert again.report is not None
    assert again.report["night"]["reason"] == "promoted by hand"
