"""A night is run once, by one process, and goes on when that one is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from app.errors import NotFound
from app.store import schema
from app.store.database import open_engine
from app.store.nights import LEASE_S, Claim, Nights
from tests.store.groups import START

DAY = date(2026, 9, 22)


@pytest.fixture
async def nights(url: str) -> AsyncIterator[Nights]:
    await schema.upgrade(url)
    engine = open_engine(url)
    yield Nights(engine)
    await engine.dispose()


async def claim(nights: Nights, owner: str = "one", day: date = DAY, **changes: Any) -> Claim:
    wanted: dict[str, Any] = {"objective": "tapered", "settings": {"lr": 1e-5}, "now": START}
    return await nights.claim(day, "main", owner=owner, **(wanted | changes))


async def test_of_many_that_want_a_night_one_has_it(nights: Nights) -> None:
    claims = await asyncio.gather(*(claim(nights, f"owner {n}") for n in range(8)))

    assert sorted(c.won for c in claims) == [False] * 7 + [True]
    assert {c.night.id for c in claims} == {"2026-09-22-main"}
    assert len(await nights.list()) == 1


async def test_one_night_of_an_engine_runs_at_a_time(nights: Nights) -> None:
    first = await claim(nights)
    other = await claim(nights, "two", date(2026, 9, 23))

    assert (other.won, other.night.id) == (False, first.night.id)


async def test_an_owner_that_fell_silent_is_replaced(nights: Nights) -> None:
    first = await claim(nights)
    await nights.beat(first.night.id, "one", phase="train", now=START + 10)
    early = await claim(nights, "two", now=START + 10 + LEASE_S - 1)
    late = await claim(nights, "two", now=START + 10 + LEASE_S)
    still = await nights.beat(first.night.id, "one", phase="gate", now=START + 80)

    assert (early.won, late.won, still) == (False, True, False)
    assert (late.night.policy, late.night.phase) == (first.night.policy, "train")
    assert late.night.owner == "two"


async def test_an_owner_that_stops_leaves_it_to_the_next_at_once(nights: Nights) -> None:
    first = await claim(nights)
    await nights.let_go(first.night.id, "one")

    assert (await claim(nights, "two")).won


@pytest.mark.parametrize(
    ("status", "again"), [("failed", True), ("skipped", True), ("refused", False)]
)
async def test_a_night_of_which_nothing_came_may_be_tried_again(
    nights: Nights, status: str, again: bool
) -> None:
    first = await claim(nights)
    await nights.finish(first.night.id, status=status, report={"version": 1}, now=START + 5)
    by_schedule = await claim(nights, "two", now=START + 9)
    by_hand = await claim(nights, "two", now=START + 9, again=True, settings={"lr": 2e-5})

    assert (by_schedule.won, by_hand.won) == (False, again)
    assert by_hand.night.policy == "policy-1"
    assert by_hand.night.settings == ({"lr": 2e-5} if again else {"lr": 1e-5})


async def test_no_two_nights_make_policies_of_one_name(nights: Nights) -> None:
    made = []
    for day in (22, 23, 24):
        night = (await claim(nights, day=date(2026, 9, day))).night
        await nights.finish(night.id, status="refused", report={}, now=START)
        made.append(night.policy)

    assert made == ["policy-1", "policy-2", "policy-3"]


async def test_its_end_is_kept_with_the_report(nights: Nights) -> None:
    night = (await claim(nights)).night
    await nights.finish(night.id, status="promoted", report={"version": 1}, now=START + 60)
    ended = await nights.get(night.id)

    assert (ended.status, ended.phase, ended.owner) == ("promoted", None, None)
    assert (ended.report, ended.finished_at) == ({"version": 1}, START + 60)
    assert not ended.is_alive(START + 60)
    with pytest.raises(NotFound, match="no night 'x'"):
        await nights.get("x")
