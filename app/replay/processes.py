"""Jobs of a replay in several processes."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from app.replay.replay import Job, Run, run_here


@contextlib.contextmanager
def processes(count: int) -> Iterator[Run]:
    """Results come in the order of the jobs, so they do not depend on `count`.

    Processes are spawned: one with threads, such as those of a progress bar, must not be forked.
    """
    if count == 1:
        yield run_here
        return
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield lambda jobs: pool.map(Job.run, jobs)
    finally:
        pool.shutdown(cancel_futures=True)
