"""One request at the cache: who waits, who draws, and what each failure costs."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.cache.redis import RedisCache
from app.plan import Plan
from app.task import Options
from app.voting.confidence import Calibration, Evidence, fit_calibration
from tests.fakes.upstream import HOLD, chunk, error_reply, events, in_turn, piece, scripted
from tests.test_gateway import WORDS, answered, asked, rim_over
from verifiers.base import VerifierSpec


def deadline(ms: int, **more: Any) -> Options:
    return Options(deadline_ms=ms, **more)


async def test_a_waiter_has_its_own_deadline_and_its_own_error(tmp_path):
    slow = in_turn(events(HOLD))
    async with rim_over(slow, tmp_path) as (rim, fake):
        leading = asyncio.create_task(answered(rim, asked(number=1, options=deadline(20_000))))
        assert await fake.until(lambda: len(fake.drawn) == 1)
        late = await answered(rim, asked(number=2, options=deadline(200)))
        kept = await rim.store.get(late.trace_id)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)

        assert (late.error.status, late.error.where) == (504, "deadline")
        assert "200 ms" in late.error.message
        assert kept == late
        assert len(fake.drawn) == 1


async def test_those_who_wait_as_long_as_the_leader_get_what_it_has_at_the_end(tmp_path):
    """They arrive later, so its deadline is the first."""
    partly = events(chunk(piece("It is 41.", index=0, finish="stop")), HOLD)
    async with rim_over(in_turn(partly), tmp_path) as (rim, fake):
        groups = await asyncio.gather(
            *(answered(rim, asked(number=i, options=deadline(400))) for i in range(5))
        )

        assert len(fake.drawn) == 1
        assert [group.error for group in groups] == [None] * 5
        assert {group.degraded for group in groups} == {("deadline",)}
        assert sum(group.cache.coalesced for group in groups) == 4


async def test_an_engine_error_is_shared_with_nobody_and_not_remembered(tmp_path):
    upstream = in_turn(error_reply(500, "out of memory"), scripted("It is 42.", word_s=0.01))
    async with rim_over(upstream, tmp_path) as (rim, fake):
        groups = await asyncio.gather(*(answered(rim, asked(number=i)) for i in range(5)))
        again = await answered(rim, asked(number=9))

        assert len(fake.drawn) == 2
        assert sorted(group.error is None for group in groups) == [False, True, True, True, True]
        assert again.cache.hit


async def test_what_a_deadline_cut_off_is_not_remembered(tmp_path):
    partly = events(chunk(piece("It is 41.", index=0, finish="stop")), HOLD)
    async with rim_over(in_turn(partly), tmp_path) as (rim, fake):
        await answered(rim, asked(number=1, options=deadline(300)))
        again = await answered(rim, asked(number=2, options=deadline(300)))

        assert not again.cache.hit
        assert len(fake.drawn) == 2


async def test_a_waiter_that_hangs_up_is_logged(tmp_path):
    async with rim_over(in_turn(events(HOLD)), tmp_path) as (rim, fake):
        leading = asyncio.create_task(answered(rim, asked(number=1)))
        assert await fake.until(lambda: len(fake.drawn) == 1)
        task = asked(number=2)
        waiting = asyncio.create_task(answered(rim, task))
        await asyncio.sleep(0.05)
        for one in (waiting, leading):
            one.cancel()
        await asyncio.gather(waiting, leading, return_exceptions=True)
        kept = await rim.store.get(task.trace_id)

        assert kept.error.code == "client_closed_request"
        assert kept.scored == ()


async def test_who_only_writes_waits_for_nobody(tmp_path):
    async with rim_over(scripted("42", word_s=0.05), tmp_path) as (rim, fake):
        options = Options(cache="write_only")
        groups = await asyncio.gather(
            *(answered(rim, asked(number=i, options=options)) for i in range(3))
        )

        assert len(fake.drawn) == 3
        assert [group.cache.hit for group in groups] == [False] * 3


PROVEN = Evidence(n=1, a=1, b=0, distinct=1, nulls=0, proven=True)
OF_PROOFS = fit_calibration([(PROVEN, place % 10 > 0) for place in range(200)])
"""A route on which nine of ten proven answers were right."""


class Learned:
    """What was learned under one policy."""

    def difficulty_for(self, route_name: str) -> None:
        return None

    def calibration_for(self, plan: Plan) -> Calibration | None:
        return OF_PROOFS if plan.policy == "m" else None


def with_reference(use: str) -> Options:
    return Options(verifiers=(VerifierSpec(use=use, options={"reference": "12"}),))


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "nothing learned"])
async def test_an_answer_that_is_checked_anew_is_as_sure_as_a_fresh_one(tmp_path, learned):
    async with rim_over(scripted("12"), tmp_path) as (rim, _fake):
        rim = dataclasses.replace(rim, learning=Learned() if learned else None)
        fresh = await answered(rim, asked(WORDS, number=1, options=with_reference("number")))
        checked = await answered(rim, asked(WORDS, number=2, options=with_reference("math")))
        hit = await answered(rim, asked(WORDS, number=3, options=with_reference("math")))

    assert (fresh.cache.hit, checked.cache.reverified, hit.cache.hit) == (False, True, True)
    sure = [group.decision.confidence for group in (fresh, checked, hit)]
    assert sure == [pytest.approx(0.9, abs=0.01) if learned else None] * 3


async def test_what_was_learned_counts_when_it_is_checked_and_not_when_it_was_drawn(tmp_path):
    async with rim_over(scripted("12"), tmp_path) as (rim, _fake):
        await answered(rim, asked(WORDS, number=1, options=with_reference("number")))
        rim = dataclasses.replace(rim, learning=Learned())
        checked = await answered(rim, asked(WORDS, number=2, options=with_reference("math")))

    assert checked.cache.reverified
    assert checked.decision.confidence == pytest.approx(0.9, abs=0.01)


@asynccontextmanager
async def rim_on_redis(upstream: Any, tmp_path: Any, url: str, **changes: Any):
    async with rim_over(upstream, tmp_path) as (rim, fake):
        given = {"prefix": "t", "key": b"k" * 32, "ttl_s": 60, "budget_s": 0.2}
        cache = RedisCache(url, clock=rim.clock, **{**given, **changes})
        await cache.start()
        try:
            yield dataclasses.replace(rim, cache=cache), fake
        finally:
            await cache.close()


async def test_a_cache_that_fails_costs_one_operation_and_one_word(tmp_path, own_redis):
    async with rim_on_redis(scripted("42"), tmp_path, own_redis.url) as (rim, _fake):
        own_redis.pause()
        group = await answered(rim, asked())
        own_redis.resume()
        stats = await rim.cache.stats()
        kept = await rim.store.get(group.trace_id)

        assert group.decision.status == "verified"
        assert group.degraded == kept.degraded == ("cache",)
        assert stats.events["late"] == 1


@pytest.mark.parametrize("kept", [{"store": False}, {"content": "hash"}])
async def test_an_answer_that_may_not_be_kept_leaves_nothing_in_redis(tmp_path, own_redis, kept):
    async with rim_on_redis(scripted("42", word_s=0.02), tmp_path, own_redis.url) as (rim, fake):
        groups = await asyncio.gather(*(answered(rim, asked(number=i, **kept)) for i in range(3)))

        assert len(fake.drawn) == 1
        assert sum(group.cache.coalesced for group in groups) == 2
        assert own_redis.client.keys("*") == []
