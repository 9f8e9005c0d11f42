"""Deltas on their way from an engine's thread to the reply."""

from __future__ import annotations

import asyncio
import threading

from app.api.stream import News
from app.sample import Delta


async def test_deltas_of_another_thread_arrive_in_order_and_before_the_end() -> None:
    news = News()
    loop = asyncio.get_running_loop()

    def engine() -> None:
        for number in range(500):
            news.put(Delta(content=str(number)))
        loop.call_soon_threadsafe(news.close)

    thread = threading.Thread(target=engine)
    thread.start()
    taken = list[Delta]()
    while not (news.closed and not news.pending):
        assert await news.wait(5)
        taken += news.take()
    thread.join()

    assert [delta.content for delta in taken] == [str(number) for number in range(500)]


async def test_silence_is_told_apart_from_the_end() -> None:
    news = News()

    assert not await news.wait(0.01)
    news.close()
    assert await news.wait(0.01)
    assert await news.wait(0.01)
