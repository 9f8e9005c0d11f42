"""Which policy serves: one transaction each, and the database holds that there is only one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import NotFound, RequestError, StoreError
from app.store import schema
from app.store.database import open_engine, transact
from app.store.policies import Policy, PolicyTable, lineage_of
from app.store.tables import policies
from tests.store.groups import START


@pytest.fixture
async def database(url: str) -> AsyncIterator[AsyncEngine]:
    await schema.upgrade(url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def table(database: AsyncEngine) -> PolicyTable:
    return PolicyTable(database)


def a_policy(number: int, **changes: Any) -> Policy:
    fields: dict[str, Any] = {
        "name": f"policy-{number}",
        "engine": "main",
        "parent": f"policy-{number - 1}" if number > 1 else None,
        "base_model": "smol",
        "path": f"/policies/policy-{number}",
        "sha256": f"{number:064x}",
        "created_at": START + number,
    }
    return Policy(**(fields | changes))


async def three(table: PolicyTable) -> None:
    for number in (1, 2, 3):
        await table.add(a_policy(number))


async def statuses(table: PolicyTable) -> dict[str, str]:
    return {policy.name: policy.status for policy in await table.list()}


async def test_what_is_added_is_found_again(table: PolicyTable) -> None:
    await three(table)

    assert await table.get("policy-2") == a_policy(2, changed_at=START + 2)
    assert [p.name for p in await table.list("main")] == ["policy-3", "policy-2", "policy-1"]
    assert await table.list("other") == ()
    assert await table.get("policy-9") is None


async def test_a_name_stands_for_one_set_of_weights(table: PolicyTable) -> None:
    await table.add(a_policy(1))
    await table.add(a_policy(1))

    with pytest.raises(RequestError, match="names are used once"):
        await table.add(a_policy(1, sha256="f" * 64))


async def test_the_one_that_served_is_retired_in_the_same_moment(table: PolicyTable) -> None:
    await three(table)
    await table.activate("policy-1", now=START)
    serving = await table.activate("policy-2", now=START + 9)

    assert (serving.status, serving.changed_at) == ("active", START + 9)
    assert await statuses(table) == {
        "policy-1": "retired",
        "policy-2": "active",
        "policy-3": "candidate",
    }


async def test_what_was_refused_or_is_unknown_never_serves(table: PolicyTable) -> None:
    await three(table)
    await table.activate("policy-1", now=START)
    await table.refuse("policy-2", now=START)
    await table.refuse("policy-1", now=START)

    with pytest.raises(RequestError, match="'policy-2' was refused"):
        await table.activate("policy-2", now=START)
    with pytest.raises(NotFound, match="there is no policy 'policy-7'"):
        await table.activate("policy-7", now=START)
    assert (await statuses(table))["policy-1"] == "active"


async def test_many_promotions_at_once_leave_one_active(table: PolicyTable) -> None:
    await three(table)

    names = ["policy-1", "policy-2", "policy-3"] * 4
    await asyncio.gather(*(table.activate(name, now=START) for name in names))

    assert sorted((await statuses(table)).values()) == ["active", "retired", "retired"]


async def test_the_database_itself_refuses_a_second_one(
    table: PolicyTable, database: AsyncEngine
) -> None:
    await three(table)
    await table.activate("policy-1", now=START)
    second = update(policies).where(policies.c.name == "policy-2").values(status="active")

    with pytest.raises(StoreError, match=r"(?i)unique"):
        await transact(database, lambda c: c.execute(second))


async def test_a_promotion_that_dies_half_way_changes_nothing(
    table: PolicyTable, database: AsyncEngine
) -> None:
    await three(table)
    await table.activate("policy-1", now=START)

    async def die(connection: Any) -> None:
        await connection.execute(update(policies).values(status="retired"))
        raise OSError("the machine went down")

    with pytest.raises(StoreError):
        await transact(database, die)
    assert (await statuses(table))["policy-1"] == "active"


async def test_rolling_back_goes_to_the_parent_and_then_to_the_base_model(
    table: PolicyTable,
) -> None:
    await three(table)
    await table.activate("policy-1", now=START)
    await table.activate("policy-2", now=START)
    gone, serves = await table.rollback("main", now=START + 1)
    last, base = await table.rollback("main", now=START + 2)

    assert (gone.name, serves and serves.name) == ("policy-2", "policy-1")
    assert (last.name, base) == ("policy-1", None)
    assert set((await statuses(table)).values()) == {"candidate", "retired"}
    with pytest.raises(NotFound, match="the base model serves on 'main'"):
        await table.rollback("main", now=START + 3)


async def test_a_canary_is_taken_back_before_the_active_one(table: PolicyTable) -> None:
    await three(table)
    await table.activate("policy-1", now=START)
    await table.start_canary("policy-2", now=START)
    gone, serves = await table.rollback("main", now=START)

    assert (gone.name, serves and serves.name) == ("policy-2", "policy-1")
    assert (await statuses(table))["policy-2"] == "refused"


async def test_a_canary_serves_beside_what_it_was_compared_with(table: PolicyTable) -> None:
    await three(table)
    with pytest.raises(RequestError, match="compared with 'policy-1', and 'smol' serves now"):
        await table.start_canary("policy-2", now=START)
    await table.activate("policy-1", now=START)
    canary = await table.start_canary("policy-2", now=START)
    await table.add(a_policy(4, parent="policy-1"))

    assert canary.status == "canary"
    with pytest.raises(RequestError, match="'policy-2' is the canary of 'main' already"):
        await table.start_canary("policy-4", now=START)


@pytest.mark.parametrize(("promote", "ends"), [(True, "active"), (False, "refused")])
async def test_of_many_gateways_one_ends_the_canary(
    table: PolicyTable, promote: bool, ends: str
) -> None:
    await three(table)
    await table.activate("policy-1", now=START)
    await table.start_canary("policy-2", now=START)

    done = await asyncio.gather(
        *(table.end_canary("policy-2", promote=promote, now=START) for _ in range(5))
    )

    assert sorted(done) == [False] * 4 + [True]
    found = await statuses(table)
    assert (found["policy-2"], found["policy-1"]) == (ends, "retired" if promote else "active")


async def test_ancestors_end_with_the_base_model(table: PolicyTable) -> None:
    await three(table)
    known = await table.list()

    assert lineage_of(known[0], known) == ("policy-2", "policy-1", "smol")
    assert lineage_of(None, known) == ()
