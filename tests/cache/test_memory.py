"""The cache in this process: exact, bounded, one flight a key."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from app.cache.base import CacheEntry
from app.cache.entry import group_from_entry, may_be_cached, to_cache_entry
from app.cache.memory import MemoryCache
from app.group import Group, Options, Usage
from app.voting.decide import decide
from tests.builders import a_group, a_plan, a_ref, a_scored, a_task, a_verdict


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def verified_group(**task) -> Group:
    group = a_group(
        a_scored(0, "41", a_verdict("fail")),
        a_scored(1, "42", a_verdict("pass")),
        plan=a_plan(verifiers=(a_ref(),)),
        task=a_task(**task),
    )
    return group.with_decision(decide(group, "verified"))


def entry(key: str = "ab" * 32, **task) -> CacheEntry:
    return to_cache_entry(verified_group(**task), key, now=1000.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock) -> MemoryCache:
    return MemoryCache(ttl_s=100, max_bytes=100_000, clock=clock)


async def test_what_was_put_is_found_under_the_same_key_only(cache):
    kept = entry()
    await cache.put(kept)

    assert await cache.get(kept.key) == kept
    assert await cache.get("cd" * 32) is None


async def test_an_entry_lives_its_time_give_or_take_a_tenth(cache, clock):
    await cache.put(entry())
    clock.now += 89
    assert await cache.get("ab" * 32)
    clock.now += 22

    assert await cache.get("ab" * 32) is None


async def test_the_least_recently_used_entries_make_room(clock):
    size = len(entry().group.to_json()) + 512
    cache = MemoryCache(ttl_s=100, max_bytes=2 * size, clock=clock)
    await cache.put(entry("aa" * 32))
    await cache.put(entry("bb" * 32))
    await cache.get("aa" * 32)
    await cache.put(entry("cc" * 32))
    stats = await cache.stats()

    assert await cache.get("bb" * 32) is None
    assert await cache.get("aa" * 32)
    assert (stats.entries, stats.evictions) == (2, 1)
    assert stats.bytes <= 2 * size


async def test_an_answer_reported_wrong_is_dropped_and_not_admitted_again(cache):
    await cache.put(entry())

    assert await cache.delete(verified_group().trace_id) == 1
    await cache.put(entry())
    assert await cache.get("ab" * 32) is None


async def test_equal_requests_in_flight_draw_once(cache):
    drawn = 0

    async def request() -> str:
        nonlocal drawn
        async with cache.flight("k") as flight:
            if flight.entry is not None:
                return flight.entry.group.trace_id
            drawn += 1
            await asyncio.sleep(0.01)
            flight.share(entry())
            return "drew"

    answers = await asyncio.gather(*(request() for _ in range(100)))

    assert drawn == 1
    assert answers.count("drew") == 1


async def test_when_the_leader_fails_exactly_one_waiter_leads_next(cache):
    led = []

    async def request(number: int) -> None:
        async with cache.flight("k") as flight:
            if flight.entry is None:
                led.append(number)
                await asyncio.sleep(0)
                if number == 0:
                    raise RuntimeError("the leader was killed")
                flight.share(entry())

    results = await asyncio.gather(*(request(i) for i in range(20)), return_exceptions=True)

    assert led == [0, 1]
    assert [type(result) for result in results if result] == [RuntimeError]


async def test_a_later_request_does_not_ride_on_an_old_flight(cache):
    async with cache.flight("k") as flight:
        flight.share(entry())
    async with cache.flight("k") as later:
        assert later.entry is None


def test_only_a_verified_fresh_answer_may_be_cached():
    good = verified_group()
    agreed = dataclasses.replace(good.decision, status="agreed")

    assert may_be_cached(good)
    assert not may_be_cached(good.with_decision(agreed))
    assert not may_be_cached(verified_group(options=Options(cache="off")))
    assert not may_be_cached(verified_group(options=Options(cache="read_only")))
    hit = group_from_entry(entry(), a_task(), a_plan(), now=1001.0, coalesced=False)
    assert not may_be_cached(hit)


def test_a_hit_is_a_group_of_its_own_that_cost_only_its_winner():
    task = a_task(trace_id="chatcmpl-01JD0000000000000000000001")
    hit = group_from_entry(entry(), task, a_plan(), now=1004.0, coalesced=False)

    assert hit.trace_id == task.trace_id
    assert hit.winner.sample.text == "42"
    assert hit.cache.source_trace_id == verified_group().trace_id
    assert (hit.cache.hit, hit.cache.age_s) == (True, 4.0)
    assert hit.usage() == Usage(prompt_tokens=10, completion_tokens=5)
