from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.parts import ROOT
from tests.verifiers.test_run import MODULE
from tests.verifiers.waiting import is_gone, until
from verifiers.base import Answer, Candidate, Check
from verifiers.workers import Job, WorkerPool


def job(way: str, **options: object) -> Job:
    spec = pickle.dumps(("misbehaving", {"way": way, **options}, Check()))
    return Job(
        spec=spec, candidate=Candidate(text="5"), answer=Answer(kind="number", rule=None, key="5")
    )


@pytest.fixture
async def pool():
    pool = WorkerPool(size=2, plugins=(MODULE,))
    yield pool
    await pool.close()


async def test_no_process_exists_before_the_first_job_and_none_after_closing(pool):
    assert pool.pids == ()

    await pool.run(job("pass"), 20_000)
    pids = pool.pids
    await pool.close()

    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_closed_pool_says_so(pool):
    await pool.close()

    assert (await pool.run(job("pass"), 20_000)).fault == "unavailable"


async def test_waiting_for_a_worker_is_not_part_of_the_deadline(pool):
    """Six jobs on two workers: each sleeps less than its deadline, the queue takes longer."""
    await pool.run(job("pass"), 20_000)

    replies = await asyncio.gather(*(pool.run(job("hang"), 400) for _ in range(4)))

    assert {reply.fault for reply in replies} == {"timeout"}
    assert max(reply.wait_ms for reply in replies) > 390


async def test_a_spare_is_warm_when_a_worker_is_killed(pool):
    await pool.run(job("pass"), 20_000)
    await until(lambda: len(pool.pids) >= 2)

    await pool.run(job("hang"), 100)
    reply = await pool.run(job("pass"), 20_000)

    assert reply.body["finding"]["status"] == "pass"
    assert len(pool.pids) <= 3


async def test_never_more_processes_than_size_and_a_spare(pool):
    await asyncio.gather(*(pool.run(job("pass"), 20_000) for _ in range(20)))

    assert 1 <= len(pool.pids) <= 3


async def test_a_worker_is_replaced_after_its_share_of_jobs():
    pool = WorkerPool(size=1, plugins=(MODULE,), jobs_per_worker=2)

    seen = set()
    for _ in range(6):
        reply = await pool.run(job("look_around"), 20_000)
        assert not reply.fault
        seen |= set(pool.pids)
    await pool.close()

    assert len(seen) >= 3


async def test_a_cancelled_job_is_killed_and_frees_its_place(pool, tmp_path):
    noted = tmp_path / "pid"
    running = asyncio.create_task(pool.run(job("write_pid", path=str(noted)), 20_000))
    await until(lambda: noted.exists() and noted.read_text() != "")

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    await until(lambda: is_gone(int(noted.read_text())))
    assert (await pool.run(job("pass"), 20_000)).fault == ""


async def test_a_worker_that_died_while_idle_is_replaced(pool):
    await pool.run(job("pass"), 20_000)
    for pid in pool.pids:
        os.kill(pid, signal.SIGKILL)

    replies = [await pool.run(job("pass"), 20_000) for _ in range(2)]

    assert "finding" in replies[-1].body


async def test_the_same_spec_is_prepared_again_in_a_new_process(pool):
    await pool.run(job("pass"), 20_000)
    await pool.run(job("hard_exit"), 20_000)
    await pool.run(job("hard_exit"), 20_000)

    assert (await pool.run(job("pass"), 20_000)).body["finding"]["status"] == "pass"


ORPHAN = f"""
import asyncio, os
from tests.verifiers.test_workers import job
from verifiers.workers import WorkerPool

async def main():
    pool = WorkerPool(size=1, plugins=({MODULE!r},))
    await pool.run(job("pass"), 20_000)
    asyncio.ensure_future(pool.run(job("spin"), 3_600_000))
    await asyncio.sleep(0.2)
    print(*pool.pids, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_workers_die_with_their_parent_even_in_the_middle_of_a_job():
    command = [sys.executable, "-c", ORPHAN]

    parent = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True
    )

    pids = [int(pid) for pid in parent.stdout.split()]
    assert pids, parent.stderr
    for pid in pids:
        await until(partial(is_gone, pid))


def test_a_worker_loads_neither_asyncio_nor_a_schema_library():
    code = "import sys, verifiers.worker_process as w; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert not {"asyncio", "jsonschema_rs", "pydantic", "app"} & set(done.stdout.split())
