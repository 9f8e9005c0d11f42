"""What is kept of what was learned, over SQLite and over Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import StoreError
from app.store import schema
from app.store.database import open_engine
from app.store.learned import KEPT_WHOLE, Learned, LearnedKind, LearnedStates, Version, is_kept
from tests.postgres import free_port
from tests.store.groups import START


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    await schema.upgrade(url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def states(engine: AsyncEngine) -> LearnedStates:
    return LearnedStates(engine)


def a_version(
    version: int = 1, route: str = "default", kind: LearnedKind = "difficulty", **state: object
) -> Learned:
    return Learned(
        kind=kind,
        route=route,
        version=version,
        created_at=START + version,
        labels=10 * version,
        last_trace_id=f"chatcmpl-{version}",
        state=state,
    )


async def numbers(states: LearnedStates, kind: LearnedKind = "difficulty") -> dict[str, int]:
    return {route: each.version for route, each in (await states.newest(kind)).items()}


async def test_what_is_saved_comes_back_to_the_last_bit(states: LearnedStates) -> None:
    numbers = [0.1, 1 / 3, 5e-324, -1e-17, 1e15 + 0.1, 2**53]
    saved = a_version(numbers=numbers, nested={"text": "ü", "nothing": None, "yes": True})

    assert await states.save(saved)

    assert await states.get("difficulty", "default", 1) == saved
    assert await states.latest("difficulty") == {"default": saved}


async def test_the_latest_of_each_route_is_one_of_its_own_kind(states: LearnedStates) -> None:
    await states.save(a_version(1), a_version(2), a_version(1, "math"))
    await states.save(a_version(3, kind="confidence"))

    latest = await states.latest("difficulty")

    assert {route: each.version for route, each in latest.items()} == {"default": 2, "math": 1}
    assert await numbers(states) == {"default": 2, "math": 1}
    assert await numbers(states, "confidence") == {"default": 3}


async def test_versions_are_listed_newest_first_without_their_states(
    states: LearnedStates,
) -> None:
    await states.save(a_version(1), a_version(2, weights=[1.0]), a_version(1, "math"))

    listed = await states.versions("difficulty", "default")

    assert [each.version for each in listed] == [2, 1]
    assert [f.name for f in fields(listed[0])] == [f.name for f in fields(Version)]
    assert await states.versions("difficulty", "no such route") == ()
    assert await states.get("difficulty", "default", 9) is None


async def test_a_version_is_saved_once_and_what_came_with_the_second_is_not_kept(
    states: LearnedStates,
) -> None:
    await states.save(a_version(1, by="first"))

    assert not await states.save(a_version(1, "math"), a_version(1, by="second"))

    assert await numbers(states) == {"default": 1}
    assert (await states.latest("difficulty"))["default"].state == {"by": "first"}


async def test_of_gateways_that_learn_the_same_at_once_one_is_believed(url: str) -> None:
    await schema.upgrade(url)
    engines = [open_engine(url) for _ in range(4)]

    done = await asyncio.gather(
        *(LearnedStates(e).save(a_version(1, by=i)) for i, e in enumerate(engines))
    )

    states = LearnedStates(engines[0])
    assert sorted(done) == [False, False, False, True]
    assert (await states.latest("difficulty"))["default"].state == {"by": done.index(True)}
    for engine in engines:
        await engine.dispose()


async def test_old_versions_are_thinned_out_and_the_newest_stay(states: LearnedStates) -> None:
    for version in range(1, 101):
        await states.save(a_version(version))
    await states.save(a_version(1, "math"))

    kept = [each.version for each in await states.versions("difficulty", "default")]

    assert kept[:KEPT_WHOLE] == list(range(100, 100 - KEPT_WHOLE, -1))
    assert len(kept) < 5 * KEPT_WHOLE
    assert min(kept) < 20
    assert await numbers(states) == {"default": 100, "math": 1}


def test_a_version_that_is_gone_is_never_wanted_again() -> None:
    for version in range(1, 300):
        worth = [is_kept(version, newest) for newest in range(version, 600)]

        assert worth == sorted(worth, reverse=True)


async def test_a_database_that_is_away_is_a_store_error() -> None:
    engine = open_engine(f"postgresql+psycopg://x@127.0.0.1:{free_port()}/x")
    states = LearnedStates(engine)

    with pytest.raises(StoreError):
        await states.save(a_version())
    with pytest.raises(StoreError):
        await states.newest("difficulty")
    await engine.dispose()
