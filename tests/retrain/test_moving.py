"""Two windows of a real log, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.errors import StoreError
from app.retrain.moving import Part, compare, windows
from tests.postgres import Server, free_port
from tests.retrain.moving import HOUR_S, around, traffic, write_log
from tests.store.groups import START

HOURS = 20


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'verivote.db'}"
    server: Server = request.getfixturevalue("postgres")
    return server.new_database()


async def test_longer_prompts_and_worse_answers_are_drift(url: str, tmp_path: Path) -> None:
    old = traffic(START, hours=HOURS, right=0.8)
    new = traffic(START + HOURS * HOUR_S, hours=HOURS, right=0.3, long=True)
    await write_log(url, tmp_path, [*old, *new], START)
    before, after = around(START, HOURS)
    moving = await compare(url, before, after)

    assert {"prompt_chars", "reward", "verdicts"} <= set(moving.report.drifted)
    assert "task" not in moving.report.drifted
    assert moving.before == Part(since=before.since, until=START, groups=80, read=80)
    assert moving.after.groups == 80
    assert json.loads(json.dumps(moving.to_json()))["drifted"] == list(moving.report.drifted)


async def test_the_same_traffic_has_not_moved(url: str, tmp_path: Path) -> None:
    groups = traffic(START + HOURS * HOUR_S, hours=2 * HOURS)
    await write_log(url, tmp_path, groups, START)
    moving = await compare(url, *around(START, HOURS))
    some = await compare(url, *around(START, HOURS), most=20)

    assert moving.report.drifted == ()
    assert moving.report.moved
    assert (some.before.groups, some.report.drifted) == (80, ())


async def test_each_engine_has_its_own_traffic(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'verivote.db'}"
    until = START + HOURS * HOUR_S
    steady = traffic(until, hours=2 * HOURS)
    moved = [
        *traffic(START, hours=HOURS, right=0.9, engine="other"),
        *traffic(until, hours=HOURS, right=0.1, engine="other"),
    ]
    await write_log(url, tmp_path, [*steady, *moved], START)
    before, after = around(START, HOURS)
    main = await compare(url, before, after, engine="main")
    other = await compare(url, before, after, engine="other")
    nobody = await compare(url, before, after, engine="a\0b")

    assert main.report.drifted == ()
    assert "reward" in other.report.drifted
    assert (nobody.before.groups, nobody.report.moved) == (0, ())


async def test_a_log_that_is_away_is_a_store_error() -> None:
    before, after = around(START, HOURS)
    with pytest.raises(StoreError):
        await compare(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none", before, after)


def test_windows_follow_each_other_up_to_now() -> None:
    before, after = windows(1_000_000.0, 2, 5)

    assert (after.since, after.until) == (1_000_000.0 - 2 * 86_400, 1_000_000.0)
    assert (before.since, before.until) == (after.since - 5 * 86_400, after.since)
