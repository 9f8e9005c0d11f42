"""Nights begin at their time, once, and go on after a crash."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from app.retrain.night import claim_night, today
from app.retrain.schedule import Nightly, due, next_time
from app.store.nights import LEASE_S
from tests.retrain.nights import NOON, World, owned_by, some_groups, world


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-28 02:29", None),
        ("2026-11-28 02:30", date(2026, 11, 28)),
        ("2026-11-28 05:29", date(2026, 11, 28)),
        ("2026-11-28 05:31", None),
    ],
)
def test_a_night_is_due_for_three_hours(now: str, day: date | None) -> None:
    assert due(at(now), "02:30") == day


def test_one_before_midnight_belongs_to_the_day_it_begins_on() -> None:
    assert due(at("2026-11-29 00:10"), "23:30") == date(2026, 11, 28)
    assert next_time(at("2026-11-29 00:10"), "23:30") == datetime(2026, 11, 29, 23, 30, tzinfo=UTC)


def test_off_is_never() -> None:
    assert due(at("2026-11-28 02:30"), "off") is None
    assert next_time(NOON, "off") is None


def nightly(here: World, owner: str = "one", schedule: str = "off") -> Nightly:
    settings = here.settings.model_copy(update={"schedule": schedule})
    return Nightly(owned_by(here, owner), settings)


def just_now() -> str:
    return f"{datetime.fromtimestamp(NOON - 60, UTC):%H:%M}"


async def ended(here: World) -> None:
    for _ in range(3_000):
        if all(night.status != "running" for night in await here.parts.nights.list()):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the night does not end")


async def test_of_many_gateways_one_runs_the_night_and_once(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30)) as here:
        gateways = [nightly(here, f"gateway {n}", just_now()) for n in range(4)]
        await asyncio.gather(*(gateway.turn() for gateway in gateways))
        await ended(here)
        await asyncio.gather(*(gateway.turn() for gateway in gateways))
        (night,) = await here.parts.nights.list()
        for gateway in gateways:
            await gateway.close()

    assert night.status == "promoted"
    assert here.adapters.calls == ["load policy-1"]


async def test_between_nights_nothing_begins(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30)) as here:
        later = f"{datetime.fromtimestamp(NOON + 3_600, UTC):%H:%M}"
        await nightly(here, schedule=later).turn()

        assert await here.parts.nights.list() == ()


async def test_asking_twice_gives_the_same_night(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30)) as here:
        gateway = nightly(here)
        first, second = await gateway.begin(), await gateway.begin(objective="grpo")
        await ended(here)
        third = await gateway.begin()
        await gateway.close()

    assert (first.won, second.won, third.won) == (True, False, False)
    assert {first.night.id, second.night.id, third.night.id} == {f"{today(NOON)}-main"}


async def test_a_night_whose_gateway_died_goes_on_at_the_next(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30)) as here:
        await claim_night(owned_by(here, "dead"), here.settings, today(NOON))
        gateway = nightly(here)
        await gateway.turn()
        (waiting,) = await here.parts.nights.list()
        here.now[0] = NOON + LEASE_S
        await gateway.turn()
        await ended(here)
        (night,) = await here.parts.nights.list()
        await gateway.close()

    assert (waiting.owner, night.status) == ("dead", "promoted")


async def test_a_gateway_that_stops_leaves_its_night_to_the_next(tmp_path: Path) -> None:
    async with world(tmp_path, some_groups(30)) as here:
        reached = asyncio.Event()

        async def hang(policy: str, seed: int) -> tuple[()]:
            reached.set()
            await asyncio.Event().wait()
            return ()

        first = Nightly(replace(here.parts, evaluate=hang), here.settings)
        await first.start()
        await first.begin()
        await reached.wait()
        await first.close()
        second = nightly(here, "two")
        await second.turn()
        await ended(here)
        (night,) = await here.parts.nights.list()
        await second.close()

    assert night.status == "promoted"
