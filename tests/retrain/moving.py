"""Logs whose traffic moved, or did not."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from app.group import Group
from app.retrain.choosing import Window
from app.store import schema
from app.store.sql import SqlStore
from tests.store.groups import make_group, trace_id_at

HOUR_S = 3_600.0


def traffic(
    until: float, *, hours: int, right: float = 0.5, long: bool = False, engine: str = "main"
) -> list[Group]:
    """One group for each quarter of an hour before `until`. `long` prompts have more to read."""
    rng = random.Random(f"{until}/{right}/{long}/{engine}")
    groups = []
    for quarter in range(4 * hours):
        at = until - 900.0 * (quarter + 1)
        words = " ".join("very" for _ in range(rng.randrange(3, 9) + 40 * long))
        answers = ["42" if rng.random() < right else "41" for _ in range(4)]
        messages = ({"role": "user", "content": f"{words} riddle {quarter}"},)
        trace_id = trace_id_at(at, rng.getrandbits(80))
        task = {"trace_id": trace_id, "messages": messages, "engine": engine}
        groups.append(make_group(at, answers=answers, task=task))
    return groups


async def write_log(url: str, folder: Path, groups: Iterable[Group], now: float) -> None:
    await schema.upgrade(url)
    store = SqlStore(url, folder / "spool.db", clock=lambda: now)
    await store.start()
    for group in groups:
        await store.append(group)
    await store._drainer.settle(within_s=20)
    await store.close()


def around(turn: float, hours: int) -> tuple[Window, Window]:
    """So many hours before a moment, and after it."""
    wide = hours * HOUR_S
    return Window(since=turn - wide, until=turn), Window(since=turn, until=turn + wide)
