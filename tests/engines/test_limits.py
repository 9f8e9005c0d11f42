"""Room for samples in flight, and the budget of retries."""

from __future__ import annotations

import asyncio

import pytest

from app.engines.limits import InflightSamples, RetryBudget
from app.errors import Overloaded


async def test_room_is_given_in_the_order_of_asking() -> None:
    room = InflightSamples(4)
    await room.take(3)
    got: list[int] = []

    async def ask(n: int) -> None:
        await room.take(n)
        got.append(n)

    waiting = [asyncio.create_task(ask(n)) for n in (4, 1)]
    await asyncio.sleep(0)
    assert (got, room.count) == ([], 3)
    room.give_back(3)
    await asyncio.sleep(0)
    assert (got, room.count) == ([4], 4)
    room.give_back(4)
    await asyncio.gather(*waiting)

    assert (got, room.count) == ([4, 1], 1)


async def test_a_round_larger_than_the_limit_takes_all_of_it() -> None:
    room = InflightSamples(4)

    assert await room.take(40) == 4
    assert room.count == 4


async def test_waiting_too_long_and_in_too_long_a_line_are_overload() -> None:
    room = InflightSamples(1, max_wait_s=0.01, max_waiting=1)
    await room.take(1)
    waiting = asyncio.create_task(room.take(1))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="wait for the model server"):
        await room.take(1)
    with pytest.raises(Overloaded, match="no room"):
        await waiting

    room.give_back(1)
    assert await room.take(1) == 1


@pytest.mark.parametrize("granted", [False, True], ids=["in line", "just granted"])
async def test_who_leaves_the_line_holds_nothing(granted: bool) -> None:
    room = InflightSamples(1)
    await room.take(1)
    leaving = asyncio.create_task(room.take(1))
    staying = asyncio.create_task(room.take(1))
    await asyncio.sleep(0)
    if granted:
        room.give_back(1)
        leaving.cancel()
    else:
        leaving.cancel()
        room.give_back(1)
    await asyncio.wait({leaving})

    assert leaving.cancelled()
    assert await staying == 1
    assert room.count == 1


def test_retries_are_a_fifth_of_the_calls_and_three() -> None:
    budget = RetryBudget()
    made = 0
    for _ in range(100):
        budget.called()
        while budget.take():
            made += 1

    assert 20 <= made <= 23


def test_quiet_times_do_not_save_up_for_a_storm() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.called()

    assert sum(budget.take() for _ in range(100)) == 10
