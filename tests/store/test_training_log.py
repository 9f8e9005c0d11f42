"""Reading the log for the night."""

from __future__ import annotations

from typing import Any

from app.store import training_log
from app.store.base import Label
from app.store.sides import split_of
from app.store.sql import SqlStore
from app.store.training_log import LoggedGroup, TrainingLog
from tests.store.groups import START, make_group, trace_id_at


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
