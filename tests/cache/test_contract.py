"""What every cache does, in this process or on a server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.cache.base import Budget, WaitedTooLong
from app.task import Options
from tests.builders import a_plan, a_ref
from tests.cache.entries import BUDGET, a_negative, a_trace, an_entry, keys

CAP = 16


async def test_what_was_put_is_found_under_the_same_key_only(cache):
    kept = an_entry()
    await cache.put(kept)

    assert await cache.find(keys(), cap=CAP) == kept
    assert await cache.get(kept.key) == kept
    assert await cache.find(keys("What is 6 * 8?"), cap=CAP) is None


async def test_a_verified_answer_is_found_whatever_the_budget(cache):
    await cache.put(an_entry(plan=a_plan(verifiers=(a_ref(),), cap=8)))

    assert await cache.find(keys(plan=a_plan(verifiers=(a_ref(),), cap=40)), cap=40)


async def test_an_entry_lives_its_time_give_or_take_a_tenth(cache, clock):
    await cache.put(an_entry())
    clock.now += 89
    assert await cache.find(keys(), cap=CAP)
    clock.now += 22

    assert await cache.find(keys(), cap=CAP) is None


async def test_a_failure_is_remembered_for_requests_that_would_try_no_harder(cache):
    note = a_negative()
    await cache.put(note)

    assert await cache.find(keys(), cap=16) == note
    assert await cache.find(keys(), cap=8) == note
    assert await cache.find(keys(), cap=17) is None


async def test_a_failure_is_not_told_to_who_wants_unverified_answers_treated_otherwise(cache):
    await cache.put(a_negative())

    assert await cache.find(keys(options=Options(on_unverified="hold")), cap=8) is None


async def test_a_failure_is_forgotten_within_minutes(cache, clock):
    await cache.put(a_negative())
    clock.now += 301

    assert await cache.find(keys(), cap=8) is None


async def test_a_verified_answer_goes_before_a_failure(cache):
    await cache.put(a_negative(number=1))
    await cache.put(an_entry(number=2))

    assert (await cache.find(keys(), cap=8)).kind == "verified"


async def test_the_answer_of_an_older_version_is_found_as_what_it_is(cache):
    old = an_entry(plan=a_plan(policy="policy-1", verifiers=(a_ref(),)))
    await cache.put(old)
    now = keys(plan=a_plan(policy="policy-2", verifiers=(a_ref(),)))
    found = await cache.find(now, cap=CAP)

    assert found == old
    assert found.key != now.exact
    assert found.policy == "policy-1"


async def test_an_answer_reported_wrong_is_dropped_and_not_admitted_again(cache):
    await cache.put(an_entry(number=1))

    assert await cache.delete(a_trace(1)) == 1
    await cache.put(an_entry(number=2))
    assert await cache.find(keys(), cap=CAP) is None
    assert (await cache.stats()).events["not_readmitted"] == 1


async def test_a_wrong_answer_is_not_admitted_under_another_version_either(cache):
    await cache.put(an_entry(number=1))
    await cache.delete(a_trace(1))
    newer = a_plan(policy="policy-9", verifiers=(a_ref(),))
    await cache.put(an_entry(number=2, plan=newer))

    assert await cache.find(keys(plan=newer), cap=CAP) is None


async def test_what_was_checked_anew_goes_with_what_it_came_from(cache):
    first = a_plan(policy="policy-1", verifiers=(a_ref(),))
    second = a_plan(policy="policy-2", verifiers=(a_ref(),))
    old = an_entry(number=1, plan=first)
    await cache.put(old)
    await cache.put(an_entry(number=2, plan=second, source=old))
    await cache.put(an_entry("What is 6 * 8?", number=3))

    assert await cache.delete(a_trace(2)) == 2
    assert await cache.find(keys(plan=first), cap=CAP) is None
    assert await cache.find(keys(plan=second), cap=CAP) is None
    assert await cache.find(keys("What is 6 * 8?"), cap=CAP)


async def test_an_answer_in_doubt_is_dropped_and_may_come_back(cache):
    await cache.put(an_entry(number=1))
    await cache.delete(a_trace(1), refuse=False)
    await cache.put(an_entry(number=2))

    assert await cache.find(keys(), cap=CAP)


async def test_deleting_what_is_not_there_is_no_fault(cache):
    assert await cache.delete(a_trace(9)) == 0


async def test_purging_a_tenant_leaves_the_others(cache):
    await cache.put(an_entry(tenant="ours"))
    await cache.put(a_negative("What is 6 * 8?", tenant="ours"))
    await cache.put(an_entry(tenant="theirs"))

    assert await cache.purge("ours") == 2
    assert await cache.find(keys(tenant="ours"), cap=CAP) is None
    assert await cache.find(keys(tenant="theirs"), cap=CAP)
    assert await cache.purge(None) == 1


async def test_the_stats_count_what_is_kept_and_what_was_asked(cache):
    await cache.put(an_entry())
    await cache.put(a_negative("What is 6 * 8?"))
    await cache.find(keys(), cap=CAP)
    await cache.find(keys("What is 6 * 8?"), cap=CAP)
    await cache.find(keys("What is 6 * 9?"), cap=CAP)
    stats = await cache.stats()

    assert (stats.entries, stats.negatives, stats.complete) == (1, 1, True)
    assert stats.bytes > 500
    assert stats.state == "closed"
    assert stats.events == {"hit": 1, "negative": 1, "miss": 1}


async def test_a_huge_answer_is_not_kept(cache):
    entry = an_entry()
    scored = entry.group.scored[0]
    huge = replace(scored, sample=replace(scored.sample, text="".join(map(str, range(400_000)))))
    await cache.put(replace(entry, group=replace(entry.group, scored=(huge,))))

    assert await cache.get(entry.key) is None


# Flights ----------------------------------------------------------------------------------------


async def fly(
    cache, *, budget=BUDGET, wait_s=10.0, takes_s=0.02, until=None, result=None, prompt=None
):
    """Lead or wait; the trace id of the answer, and whether this request led."""
    asked = keys(prompt or "What is 6 * 7?")
    async with cache.flight(asked, budget, wait_s=wait_s) as flight:
        if flight.entry is not None:
            return flight.entry.group.trace_id, False
        await (until.wait() if until else asyncio.sleep(takes_s))
        if isinstance(result, Exception):
            raise result
        entry = result or an_entry(number=7)
        await flight.share(entry)
        return entry.group.trace_id, True


async def test_equal_requests_in_flight_draw_once(cache):
    answers = await asyncio.gather(*(fly(cache) for _ in range(100)))

    assert sum(led for _, led in answers) == 1
    assert {answer for answer, _ in answers} == {a_trace(7)}
    assert (await cache.stats()).events["coalesced"] == 99


async def test_other_questions_do_not_wait(cache):
    answers = await asyncio.gather(fly(cache), fly(cache, prompt="What is 6 * 8?"))

    assert [led for _, led in answers] == [True, True]


async def test_when_the_leader_fails_exactly_one_waiter_leads_next(cache):
    results = await asyncio.gather(
        fly(cache, result=RuntimeError("killed")),
        *(fly(cache) for _ in range(20)),
        return_exceptions=True,
    )
    answers = [result for result in results if not isinstance(result, RuntimeError)]

    assert len(answers) == 20
    assert sum(led for _, led in answers) == 1


async def test_an_unverified_result_is_shared_with_those_who_wait_and_with_nobody_else(cache):
    note = a_negative(number=5)
    answers = await asyncio.gather(*(fly(cache, result=note) for _ in range(5)))
    later = await fly(cache)

    assert [answer for answer, _ in answers] == [a_trace(5)] * 5
    assert later == (a_trace(7), True)


async def test_a_waiter_leaves_at_its_own_deadline_and_the_leader_goes_on(cache):
    go_on = asyncio.Event()
    leading = asyncio.create_task(fly(cache, until=go_on))
    await asyncio.sleep(0.02)
    with pytest.raises(WaitedTooLong):
        await fly(cache, wait_s=0.1)
    patient = asyncio.create_task(fly(cache))
    await asyncio.sleep(0.02)
    go_on.set()

    assert await leading == (a_trace(7), True)
    assert await patient == (a_trace(7), False)


async def test_nobody_waits_for_a_smaller_budget_than_his_own(cache):
    small, large = Budget(cap=8, deadline_ms=60_000), Budget(cap=40, deadline_ms=60_000)
    slow = asyncio.create_task(fly(cache, budget=small, takes_s=0.3))
    await asyncio.sleep(0.05)
    answers = await asyncio.gather(
        fly(cache, budget=large, takes_s=0.1), fly(cache, budget=large), fly(cache, budget=small)
    )

    assert [led for _, led in answers] == [True, False, False]
    assert await slow == (a_trace(7), True)


async def test_nobody_waits_for_an_earlier_deadline_than_his_own(cache):
    hasty, patient = Budget(cap=8, deadline_ms=500), Budget(cap=8, deadline_ms=60_000)
    answers = await asyncio.gather(fly(cache, budget=hasty), fly(cache, budget=patient))

    assert [led for _, led in answers] == [True, True]


async def test_whoever_takes_over_shares_with_those_alone_who_ask_for_no_more(cache):
    small, large = Budget(cap=8, deadline_ms=60_000), Budget(cap=40, deadline_ms=60_000)
    failing = asyncio.create_task(fly(cache, budget=large, result=RuntimeError("killed")))
    await asyncio.sleep(0.005)
    answers = await asyncio.gather(
        *(fly(cache, budget=small) for _ in range(3)), *(fly(cache, budget=large) for _ in range(3))
    )
    with pytest.raises(RuntimeError):
        await failing

    assert [led for _, led in answers[:3]] == [False] * 3
    assert sum(led for _, led in answers[3:]) == 1


async def test_a_leader_that_is_cancelled_passes_the_lead_on(cache):
    leading = asyncio.create_task(fly(cache, takes_s=60))
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(fly(cache))
    await asyncio.sleep(0.05)
    leading.cancel()

    assert await asyncio.wait_for(waiting, 5) == (a_trace(7), True)


async def test_a_waiter_that_is_cancelled_is_no_loss(cache):
    leading = asyncio.create_task(fly(cache, takes_s=0.2))
    await asyncio.sleep(0.02)
    waiting = [asyncio.create_task(fly(cache)) for _ in range(3)]
    await asyncio.sleep(0.02)
    waiting[1].cancel()
    answers = await asyncio.gather(leading, *waiting, return_exceptions=True)

    assert isinstance(answers[2], asyncio.CancelledError)
    assert [answers[0], answers[1], answers[3]] == [
        (a_trace(7), led) for led in (True, False, False)
    ]


async def test_nothing_is_left_of_a_flight(cache):
    await asyncio.gather(*(fly(cache) for _ in range(10)))

    assert (await cache.stats()).flights == 0
