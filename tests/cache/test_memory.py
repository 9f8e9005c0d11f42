"""What is peculiar to the cache in this process: it is bounded by bytes."""

from __future__ import annotations

from app.cache.memory import MemoryCache
from tests.cache.entries import a_trace, an_entry, keys


def prompt(number: int) -> str:
    return f"What is {number} * 7?"


async def test_the_least_recently_used_entries_make_room(clock):
    size = len(an_entry(prompt(10)).group.to_json()) + 512
    cache = MemoryCache(ttl_s=100, max_bytes=2 * size, clock=clock)
    for number in (10, 11):
        await cache.put(an_entry(prompt(number)))
    await cache.find(keys(prompt(10)), cap=16)
    await cache.put(an_entry(prompt(12)))
    stats = await cache.stats()

    assert await cache.find(keys(prompt(11)), cap=16) is None
    assert await cache.find(keys(prompt(10)), cap=16)
    assert (stats.entries, stats.events["evicted"]) == (2, 1)
    assert stats.bytes <= 2 * size


async def test_a_flood_of_other_questions_stays_within_the_bound(clock):
    cache = MemoryCache(ttl_s=100, max_bytes=100_000, clock=clock)
    for number in range(300):
        await cache.put(an_entry(prompt(number), number=number))
    stats = await cache.stats()

    assert stats.bytes <= 100_000
    assert stats.entries + stats.events["evicted"] == 300
    assert await cache.delete(a_trace(0)) == 0
    assert await cache.delete(a_trace(299)) == 1
