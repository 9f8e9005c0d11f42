"""A Redis that others write to, that is slow, full, away or empty: a real server each time."""

from __future__ import annotations

import asyncio
import logging
import uuid

import pytest

from app.cache.base import CacheRefused, WaitedTooLong
from app.cache.link import FAILURES_TO_OPEN
from app.cache.redis import without_credentials
from app.errors import CacheError, ConfigError
from tests.cache.conftest import KEY
from tests.cache.entries import BUDGET, a_negative, a_trace, an_entry, keys
from tests.cache.relay import delaying
from tests.postgres import free_port

CAP = 16
BUDGET_S = 0.25
"""Short enough to be spent by a test, long enough for a busy machine."""


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def cache(redis_server, open_redis_cache, prefix):
    return await open_redis_cache(redis_server.url, prefix=prefix)


def names_of(server, prefix: str, kind: str) -> list[bytes]:
    return list(server.client.scan_iter(f"{prefix}:*:{kind}:*", count=10_000))


async def until(is_so, tries: int = 500) -> bool:
    for _ in range(tries):
        if is_so():
            return True
        await asyncio.sleep(0.01)
    return False


# Others write to it -------------------------------------------------------------------------------


async def test_a_changed_entry_is_a_miss_is_counted_and_goes_away(redis_server, cache, prefix):
    await cache.put(an_entry())
    [name] = names_of(redis_server, prefix, "e")
    redis_server.client.set(name, redis_server.client.get(name)[:-1] + b"?")

    assert await cache.find(keys(), cap=CAP) is None
    assert (await cache.stats()).events["bad_signature"] == 1
    assert await until(lambda: not redis_server.client.exists(name))


@pytest.mark.parametrize("planted", [b"", b"{}", b"x" * 3_000_000, b"\0" * 33])
async def test_a_planted_value_is_a_miss(redis_server, cache, prefix, planted):
    await cache.put(an_entry())
    [name] = names_of(redis_server, prefix, "e")
    redis_server.client.set(name, planted)

    assert await cache.find(keys(), cap=CAP) is None


async def test_a_value_of_another_type_is_a_miss(redis_server, cache, prefix):
    await cache.put(an_entry())
    for kind in "eq":
        [name] = names_of(redis_server, prefix, kind)
        redis_server.client.delete(name)
        redis_server.client.lpush(name, b"x")

    assert await cache.find(keys(), cap=CAP) is None
    assert await until(lambda: not redis_server.client.exists(name))


async def test_an_entry_of_another_tenant_is_not_served_under_my_name(redis_server, cache, prefix):
    await cache.put(an_entry(tenant="theirs"))
    [theirs] = names_of(redis_server, prefix, "e")
    mine = theirs.rpartition(b":")[0] + b":" + keys(tenant="mine").exact.encode()
    redis_server.client.copy(theirs, mine)

    assert await cache.find(keys(tenant="mine"), cap=CAP) is None
    assert await cache.find(keys(tenant="theirs"), cap=CAP)


async def test_a_pointer_cannot_be_turned_to_another_question(redis_server, cache, prefix):
    await cache.put(an_entry("What is 6 * 8?"))
    [other] = names_of(redis_server, prefix, "q")
    mine = other.rpartition(b":")[0] + b":" + keys().question.encode()
    redis_server.client.copy(other, mine)

    assert await cache.find(keys(), cap=CAP) is None


async def test_only_the_first_bad_signature_is_logged(redis_server, cache, prefix, caplog):
    await cache.put(an_entry())
    [name] = names_of(redis_server, prefix, "e")
    with caplog.at_level(logging.ERROR, "verivote.cache"):
        for _ in range(5):
            redis_server.client.set(name, b"planted")
            await cache.find(keys(), cap=CAP)
            assert await until(lambda: not redis_server.client.exists(name))

    assert (await cache.stats()).events["bad_signature"] == 5
    assert len(caplog.records) == 1


async def test_gateways_with_other_keys_do_not_meet(redis_server, open_redis_cache, prefix, cache):
    stranger = await open_redis_cache(redis_server.url, prefix=prefix, key=KEY + b"!")
    await stranger.put(an_entry())

    assert await cache.find(keys(), cap=CAP) is None
    assert await stranger.find(keys(), cap=CAP)
    assert "bad_signature" not in (await cache.stats()).events


async def test_an_entry_that_was_made_to_live_for_ever_does_not(redis_server, cache, prefix, clock):
    await cache.put(an_entry())
    [name] = names_of(redis_server, prefix, "e")
    redis_server.client.persist(name)
    clock.now += 200

    assert await cache.find(keys(), cap=CAP) is None


async def test_a_list_of_a_trace_can_delete_nothing_else(redis_server, cache, prefix):
    await cache.put(an_entry(number=1))
    await cache.put(an_entry("What is 6 * 8?", number=2))
    others = [n for n in names_of(redis_server, prefix, "e")]
    listed = next(n for n in names_of(redis_server, prefix, "t") if a_trace(1).encode() in n)
    redis_server.client.sadd(listed, *others, b"other:key", b"")

    assert await cache.delete(a_trace(1)) == 1
    assert await cache.find(keys("What is 6 * 8?"), cap=CAP)


async def test_a_lease_that_nobody_renews_or_wrote_holds_nobody_up(redis_server, cache, prefix):
    async with cache.flight(keys(), BUDGET, wait_s=5):
        [name] = names_of(redis_server, prefix, "f")
    for planted in (b"for ever", b"ab 99 99999999", b""):
        redis_server.client.set(name, planted)
        async with cache.flight(keys(), BUDGET, wait_s=0.5) as flight:
            assert flight.entry is None


async def test_a_planted_result_is_not_taken(redis_server, open_redis_cache, cache, prefix):
    other = await open_redis_cache(redis_server.url, prefix=prefix)
    async with cache.flight(keys(), BUDGET, wait_s=5) as leading:
        [lease] = names_of(redis_server, prefix, "f")
        token = redis_server.client.get(lease).split(b" ")[0]
        redis_server.client.set(lease + b":" + token, b"planted")
        waiting = asyncio.create_task(_ride(other))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await leading.share(an_entry(number=7))

    assert (await waiting).group.trace_id == a_trace(7)


async def _ride(cache, wait_s: float = 10.0):
    async with cache.flight(keys(), BUDGET, wait_s=wait_s) as flight:
        return flight.entry


async def test_everything_in_it_ends_by_itself(redis_server, cache, prefix):
    await cache.put(an_entry(number=1))
    await cache.put(a_negative("What is 6 * 8?", number=2))
    await cache.delete(a_trace(1))
    async with cache.flight(keys(), BUDGET, wait_s=5) as flight:
        await flight.share(an_entry())
        ends = {
            name: redis_server.client.ttl(name)
            for name in redis_server.client.scan_iter(f"{prefix}:*")
        }

    assert {name.split(b":")[3] for name in ends} == {b"e", b"n", b"q", b"t", b"r", b"f"} - {b"e"}
    assert [name for name, seconds in ends.items() if seconds < 0] == []


# Several gateways ---------------------------------------------------------------------------------


async def test_what_one_gateway_keeps_the_other_serves_and_either_can_drop(
    redis_server, open_redis_cache, cache, prefix
):
    other = await open_redis_cache(redis_server.url, prefix=prefix)
    await cache.put(an_entry(number=1))
    found = await other.find(keys(), cap=CAP)
    dropped = await other.delete(a_trace(1))
    await cache.put(an_entry(number=2))

    assert (found, dropped) == (an_entry(number=1), 1)
    assert await cache.find(keys(), cap=CAP) is None


async def test_two_gateways_draw_once(redis_server, open_redis_cache, cache, prefix):
    other = await open_redis_cache(redis_server.url, prefix=prefix)
    led = 0

    async def request(at) -> str:
        nonlocal led
        async with at.flight(keys(), BUDGET, wait_s=10) as flight:
            if flight.entry is None:
                led += 1
                await asyncio.sleep(0.05)
                await flight.share(an_entry(number=7))
                return a_trace(7)
            return flight.entry.group.trace_id

    answers = await asyncio.gather(*(request(at) for at in (cache, other) for _ in range(50)))

    assert led == 1
    assert set(answers) == {a_trace(7)}


async def test_a_waiter_of_another_gateway_leaves_at_its_own_deadline(
    redis_server, open_redis_cache, cache, prefix
):
    other = await open_redis_cache(redis_server.url, prefix=prefix)
    async with cache.flight(keys(), BUDGET, wait_s=5):
        with pytest.raises(WaitedTooLong):
            await _ride(other, wait_s=0.1)


async def test_the_lease_of_a_gateway_that_is_gone_goes_to_one_of_those_who_wait(
    redis_server, open_redis_cache, cache, prefix
):
    others = [await open_redis_cache(redis_server.url, prefix=prefix) for _ in range(3)]
    async with cache.flight(keys(), BUDGET, wait_s=5) as leading:
        [lease] = names_of(redis_server, prefix, "f")
        led = 0

        async def request(at) -> None:
            nonlocal led
            async with at.flight(keys(), BUDGET, wait_s=20) as flight:
                if flight.entry is None:
                    led += 1
                    await asyncio.sleep(0.3)
                    await flight.share(an_entry(number=8))

        waiting = [asyncio.create_task(request(at)) for at in others]
        await asyncio.sleep(0.1)
        redis_server.client.delete(lease)  # what its end looks like
        await asyncio.gather(*waiting)
        stats = [await at.stats() for at in others]
        await leading.share(an_entry(number=7))

    assert led == 1
    assert sum(s.events.get("taken_over", 0) for s in stats) == 1


async def test_an_answer_that_came_in_between_is_taken_instead_of_the_lead(cache):
    await cache.put(an_entry(number=3))

    assert (await _ride(cache)).group.trace_id == a_trace(3)


# It does not answer -------------------------------------------------------------------------------


async def test_an_address_that_cannot_be_meant_is_refused(open_redis_cache):
    for url in ("redis://127.0.0.1:port", "redis://127.0.0.1:1?colour=red"):
        with pytest.raises(ConfigError, match=r"^cache\.url"):
            await open_redis_cache(url)


async def test_a_server_that_was_never_there_is_bypassed_from_the_start(open_redis_cache):
    cache = await open_redis_cache(f"redis://:secret@127.0.0.1:{free_port()}/0")
    stats = await cache.stats()

    assert not cache.is_up
    with pytest.raises(CacheError):
        await cache.find(keys(), cap=CAP)
    assert await _ride(cache) is None
    assert (stats.state, stats.complete) == ("open", False)
    assert "secret" not in stats.place


async def test_a_server_that_hangs_costs_the_budget_and_then_nothing(own_redis, open_redis_cache):
    cache = await open_redis_cache(own_redis.url, budget_s=BUDGET_S)
    await cache.put(an_entry())
    own_redis.pause()
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(CacheError):
            await cache.find(keys(), cap=CAP)
    bypassed = not cache.is_up
    own_redis.resume()

    assert bypassed
    assert await until(lambda: cache.is_up)
    assert await cache.find(keys(), cap=CAP)
    events = (await cache.stats()).events
    assert (events["opened"], events["closed"], events["late"]) == (1, 1, FAILURES_TO_OPEN)


async def test_a_server_that_was_restarted_empty_is_used_at_once(own_redis, open_redis_cache):
    cache = await open_redis_cache(own_redis.url)
    await cache.put(an_entry())
    own_redis.stop()
    own_redis.start()

    assert await cache.find(keys(), cap=CAP) is None
    await cache.put(an_entry())
    assert await cache.find(keys(), cap=CAP)
    assert await _ride(cache)
    assert "failed" not in (await cache.stats()).events


async def test_a_slow_server_is_bypassed_and_stays_so(own_redis, open_redis_cache):
    async with delaying(own_redis.port, delay_s=0.3) as url:
        cache = await open_redis_cache(url, budget_s=BUDGET_S)
        await asyncio.sleep(0.6)  # at least one probe has come back late

        assert not cache.is_up
        assert "in time" in (await cache.stats()).fault


async def test_a_full_server_keeps_nothing_more_and_is_still_read(own_redis, open_redis_cache):
    cache = await open_redis_cache(own_redis.url)
    await cache.put(an_entry())
    own_redis.client.config_set("maxmemory-policy", "noeviction")
    own_redis.client.config_set("maxmemory", "1mb")

    with pytest.raises(CacheRefused):
        await cache.put(an_entry("What is 6 * 8?"))
    assert await cache.find(keys(), cap=CAP)
    assert cache.is_up
    async with cache.flight(keys("What is 6 * 9?"), BUDGET, wait_s=5) as flight:
        assert flight.entry is None
    assert (await cache.stats()).events["write_refused"] == 1


async def test_a_report_that_comes_while_it_is_away_is_made_good_when_it_is_back(
    own_redis, open_redis_cache
):
    cache = await open_redis_cache(own_redis.url, budget_s=BUDGET_S)
    other = await open_redis_cache(own_redis.url)
    await cache.put(an_entry(number=1))
    own_redis.pause()
    assert await cache.delete(a_trace(1)) == 0
    own_redis.resume()
    assert await until(lambda: cache.is_up)
    at_once = await cache.find(keys(), cap=CAP)
    for _ in range(500):
        if await other.find(keys(), cap=CAP) is None:
            break
        await asyncio.sleep(0.01)
    await other.put(an_entry(number=2))

    assert at_once is None
    assert await other.find(keys(), cap=CAP) is None


async def test_a_flood_stays_within_the_memory_of_the_server(own_redis, open_redis_cache):
    cache = await open_redis_cache(own_redis.url)
    own_redis.client.config_set("maxmemory-policy", "allkeys-lru")
    most = own_redis.client.info("memory")["used_memory"] + 500_000
    own_redis.client.config_set("maxmemory", most)
    for number in range(600):
        await cache.put(an_entry(f"What is {number} * 7?", number=number))
    found = [await cache.find(keys(f"What is {n} * 7?"), cap=CAP) for n in range(600)]

    assert own_redis.client.info("memory")["used_memory"] < most + 100_000
    assert 0 < sum(entry is not None for entry in found) < 600


def test_an_address_is_shown_without_its_password():
    assert without_credentials("rediss://me:pw@host:1/2?x=y") == "rediss://host:1/2"
    assert without_credentials("unix:///run/redis.sock") == "unix:///run/redis.sock"
