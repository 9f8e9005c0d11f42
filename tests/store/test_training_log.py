"""Reading the log for the night."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from app.group import CacheRecord, Group
from app.store import training_log
from app.store.base import Label
from app.store.sides import split_of
from app.store.sql import SqlStore
from app.store.training_log import LoggedGroup, TrainingLog
from tests.store.groups import START, failed_group, make_group, trace_id_at


async def fill(store: SqlStore, count: int) -> list[str]:
    ids = [trace_id_at(START + i, i) for i in range(count)]
    for i, trace_id in enumerate(ids):
        task = {"trace_id": trace_id, "messages": ({"role": "user", "content": f"question {i}"},)}
        await store.append(make_group(START + i, task=task))
    await store._drainer.settle(within_s=5)
    return ids


async def read(log: Any) -> list[LoggedGroup]:
    return [logged async for logged in log]


async def test_a_window_is_read_in_order_page_by_page(store: SqlStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(training_log, "PAGE", 3)
    ids = await fill(store, 8)
    found = await read(TrainingLog(store.engine).between(START + 1, START + 7))

    assert [logged.group.trace_id for logged in found] == ids[1:7]
    assert all(
        logged.side and logged.side.split == split_of(logged.side.cluster) for logged in found
    )


async def test_groups_are_read_again_by_name_with_what_was_said(store: SqlStore) -> None:
    ids = await fill(store, 3)
    said = Label(id="1", trace_id=ids[2], kind="wrong", created_at=START, author="a", sample=1)
    await store.add_label(said)
    first, second = await read(TrainingLog(store.engine).named([ids[2], "unknown", ids[0]]))

    assert (first.group.trace_id, first.labels) == (ids[0], ())
    assert (second.group.trace_id, second.labels) == (ids[2], (said,))
    assert second.rows()[0]["trace_id"] == ids[2]


async def test_an_empty_log_is_an_empty_log(store: SqlStore) -> None:
    assert await read(TrainingLog(store.engine).between(0, START)) == []
    assert await read(TrainingLog(store.engine).named([])) == []


async def test_held_out_prompts_are_drawn_once_each_by_seed(store: SqlStore) -> None:
    await fill(store, 60)
    again = {"trace_id": trace_id_at(START + 99, 99)}
    log = TrainingLog(store.engine)
    (some,) = await log.held_out("gate", limit=1, seed=1)
    await store.append(make_group(START + 99, task={"messages": some.group.task.messages, **again}))
    await store._drainer.settle(within_s=5)
    drawn = await log.held_out("gate", limit=100, seed=1)
    rotated = {(await log.held_out("train", limit=1, seed=s))[0].group.trace_id for s in range(9)}

    assert {logged.side and logged.side.split for logged in drawn} == {"gate"}
    assert len({logged.rows()[0]["prompt_hash"] for logged in drawn}) == len(drawn)
    assert again["trace_id"] in {logged.group.trace_id for logged in drawn}
    assert len(rotated) > 1


async def keep(store: SqlStore, groups: Iterable[Group]) -> None:
    for group in groups:
        await store.append(group)
    await store._drainer.settle(within_s=10)


async def test_a_window_of_drawn_groups_leaves_out_what_nobody_drew(store: SqlStore) -> None:
    def at(second: int, **task: Any) -> dict[str, Any]:
        return {"task": {"trace_id": trace_id_at(START + second, second), **task}}

    failed = failed_group(START + 4, **at(4))
    cached = make_group(START + 5, cache=CacheRecord(hit=True, source_trace_id="a"), **at(5))
    drawn = [make_group(START + second, **at(second)) for second in range(4)]
    other = make_group(START + 6, **at(6, engine="other"))
    await keep(store, [*drawn, failed, cached, other])
    log = TrainingLog(store.engine)
    count, groups = await log.drawn(START + 1, START + 9, most=100)
    alone, (one,) = await log.drawn(START, START + 9, most=100, engine="other")

    assert (count, [g.task.received_at - START for g in groups]) == (4, [1, 2, 3, 6])
    assert (alone, one.task.engine) == (1, "other")


async def test_of_a_long_window_some_are_read_evenly_and_the_same_again(store: SqlStore) -> None:
    rng = random.Random(3)
    ids = [trace_id_at(START + second, rng.getrandbits(80)) for second in range(400)]
    await keep(
        store, [make_group(START + n, task={"trace_id": each}) for n, each in enumerate(ids)]
    )
    log = TrainingLog(store.engine)
    count, some = await log.drawn(START, START + 400, most=100)
    _, again = await log.drawn(START, START + 400, most=100)
    halves = [sum(g.task.received_at < START + 200 for g in some), len(some)]

    assert count == 400
    assert 70 <= len(some) <= 130
    assert 30 <= halves[0] <= halves[1] - 30
    assert [g.trace_id for g in again] == [g.trace_id for g in some]


@pytest.mark.parametrize(
    ("share", "end"), [(0.0, "001"), (1 / 32, "100"), (0.5, "G00"), (0.999999, "ZZZ")]
)
def test_a_share_of_random_ids_ends_below(share: float, end: str) -> None:
    assert training_log._end_at(share) == end
