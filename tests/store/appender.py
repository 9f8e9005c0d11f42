"""Run as a process: appends groups to a store, eight at a time, and prints each id once it is safe.

Arguments: the data folder, and a number that makes the ids of this run its own. Never ends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.store.sql import SqlStore
from tests.store.groups import START, make_group


async def append_for_ever(data: Path, run: int) -> None:
    store = SqlStore(f"sqlite:///{data / 'verivote.db'}", data / "spool.db", clock=time.time)
    await store.start()

    async def append_every_eighth(first: int) -> None:
        place = first
        while True:
            group = make_group(START + run * 10_000 + place)
            await store.append(group)
            print(group.trace_id, flush=True)  # noqa: T201 - the acknowledgement itself
            place += 8

    await asyncio.gather(*(append_every_eighth(i) for i in range(8)))


asyncio.run(append_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
