"""Gateways that learn from one log, over SQLite and over Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import StoreError
from app.learning import SETTLE_EXTRA_S, Learning
from app.routing.gate import MIN_LABELS
from app.settings import RoutingSettings
from app.store import schema
from app.store.database import open_engine
from app.store.learned import LearnedStates
from app.store.tables import groups, learned
from tests.labelled_groups import (
    EVERY_S,
    POLICY,
    judged,
    planted_groups,
    put,
    unchecked,
    word_on,
)
from tests.postgres import Server, free_port
from tests.store.conftest import Clock
from tests.store.groups import START, make_plan

DEADLINE_S = 60.0
FEW = 40
ENOUGH = MIN_LABELS + 60
LATER = START + 10**6


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'verivote.db'}"
    server: Server = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    await schema.upgrade(url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Where it does not matter which database it is."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'one.db'}"
    await schema.upgrade(url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


def a_learning(engine: AsyncEngine, now: float = LATER, **settings: float) -> Learning:
    clock = Clock(now)
    return Learning(
        engine,
        RoutingSettings(**settings),
        deadline_ms=int(DEADLINE_S * 1000),
        clock=clock,
    )


async def state_of(engine: AsyncEngine, kind="difficulty", route="default"):
    return (await LearnedStates(engine).latest(kind))[route]


async def test_what_is_labelled_is_learned_and_kept_as_a_version(engine: AsyncEngine) -> None:
    kept = list(planted_groups(FEW))
    await put(engine, *kept)
    learning = a_learning(engine)

    await learning.turn()

    model, saved = learning.difficulty_for("default"), await state_of(engine)
    assert model is not None
    assert (model.version, model.labels, model.policy) == (1, FEW, POLICY)
    assert (saved.version, saved.labels, saved.last_trace_id) == (1, FEW, kept[-1].trace_id)
    assert learning.difficulty_for("another") is None


async def test_nothing_new_makes_no_new_version(sqlite: AsyncEngine) -> None:
    learning = a_learning(sqlite)
    await learning.turn()
    assert await LearnedStates(sqlite).newest("difficulty") == {}

    await put(sqlite, *planted_groups(FEW))
    for _ in range(3):
        await learning.turn()

    assert (await state_of(sqlite)).version == 1


async def test_a_group_is_learned_once_all_before_it_must_have_ended(sqlite: AsyncEngine) -> None:
    """A slow request that came earlier is in the database only now; it is learned in its place."""
    early, late = judged(START, "How many?", ("42",) * 3), judged(START + 1, "How?", ("42",) * 3)
    await put(sqlite, late)
    waited = START + DEADLINE_S + SETTLE_EXTRA_S
    learning = a_learning(sqlite, now=waited)

    await learning.turn()
    assert learning.difficulty_for("default") is None

    await put(sqlite, early)
    learning._clock.now = waited + 2  # type: ignore[attr-defined]
    await learning.turn()
    assert (await state_of(sqlite)).labels == 2


async def test_the_log_replayed_gives_the_state_to_the_last_bit(engine: AsyncEngine) -> None:
    """One gateway learned as the traffic came, was stopped and started; another replays it all."""
    kept = list(planted_groups(120))
    as_it_came = a_learning(engine)
    for start in range(0, len(kept), 50):
        await put(engine, *kept[start : start + 50])
        await as_it_came.turn()
        as_it_came = a_learning(engine)
    await put(engine, words=[word_on(kept[3], "wrong", START + 5000)])
    await as_it_came.turn()
    lived = (await state_of(engine)).state
    trusted = (await state_of(engine, "confidence")).state

    async with engine.begin() as connection:
        await connection.execute(delete(learned))
    await a_learning(engine).turn()

    assert (await state_of(engine)).state == lived
    assert (await state_of(engine, "confidence")).state == trusted
    assert (await state_of(engine)).version == 1


async def test_a_gateway_that_starts_goes_on_with_what_was_learned(engine: AsyncEngine) -> None:
    await put(engine, *planted_groups(FEW))
    await a_learning(engine).turn()
    later = a_learning(engine, learn_every_s=3600.0)

    await later.start()
    model = later.difficulty_for("default")
    await later.close()

    assert model is not None
    assert model.labels == FEW


async def test_of_two_gateways_one_learns_and_the_other_takes_it_up(engine: AsyncEngine) -> None:
    await put(engine, *planted_groups(FEW))
    pair = [a_learning(engine) for _ in range(2)]

    await asyncio.gather(*(learning.turn() for learning in pair))
    await put(engine, *planted_groups(FEW, start=START + FEW * EVERY_S, seed=1))
    await asyncio.gather(*(learning.turn() for learning in pair))

    models = [learning.difficulty_for("default") for learning in pair]
    saved = await state_of(engine)
    assert saved.labels == 2 * FEW
    assert [(m.version, m.labels) for m in models if m] == [(saved.version, 2 * FEW)] * 2


async def test_each_route_learns_its_own(sqlite: AsyncEngine) -> None:
    maths = [judged(START + n, "How many?", ("42",) * 3, route_name="maths") for n in range(5)]
    await put(sqlite, *maths, *planted_groups(FEW, start=START + 100))
    learning = a_learning(sqlite)

    await learning.turn()

    of_maths, of_all = learning.difficulty_for("maths"), learning.difficulty_for("default")
    assert of_maths is not None
    assert of_all is not None
    assert (of_maths.labels, of_all.labels) == (5, FEW)


async def test_a_label_that_comes_days_later_is_learned_when_it_comes(sqlite: AsyncEngine) -> None:
    kept = list(planted_groups(FEW))
    await put(sqlite, *kept)
    learning = a_learning(sqlite)
    await learning.turn()
    before = await state_of(sqlite)

    await put(sqlite, words=[word_on(kept[0], "wrong", START + 86_400)])
    await learning.turn()

    after = await state_of(sqlite)
    assert (after.version, after.labels) == (2, FEW + 1)
    assert after.state != before.state


async def test_labels_of_people_become_a_calibration(sqlite: AsyncEngine) -> None:
    bare = [unchecked(group) for group in planted_groups(120)]
    words = [word_on(g, "wrong" if n % 10 == 0 else "right") for n, g in enumerate(bare)]
    await put(sqlite, *bare, words=words)
    learning = a_learning(sqlite)

    await learning.turn()

    calibration = learning.calibration_for(make_plan(policy=POLICY))
    again = a_learning(sqlite)
    await again.reload()
    assert calibration is not None
    assert calibration.labels == 120
    assert again.calibration_for(make_plan(policy=POLICY)) == calibration
    assert learning.calibration_for(make_plan(policy="promoted")) is None


async def test_groups_without_text_or_choice_teach_nothing_and_are_read_once(
    sqlite: AsyncEngine,
) -> None:
    hidden = [
        replace(g, task=replace(g.task, content="hash")) for g in planted_groups(5, start=START)
    ]
    off = [judged(START + 100, "How many?", ("42",), route="off", cap=1)]
    await put(sqlite, *hidden, *off)
    learning = a_learning(sqlite)

    await learning.turn()

    assert await LearnedStates(sqlite).newest("difficulty") == {}
    assert learning._place() == off[0].trace_id


async def test_a_version_that_was_saved_by_hand_is_taken_up(sqlite: AsyncEngine) -> None:
    await put(sqlite, *planted_groups(FEW))
    learning = a_learning(sqlite)
    await learning.turn()
    states, saved = LearnedStates(sqlite), await state_of(sqlite)

    await states.save(replace(saved, version=2, state={**saved.state, "labels": 7}))
    await learning.turn()

    model = learning.difficulty_for("default")
    assert model is not None
    assert (model.version, model.labels) == (2, 7)


async def test_a_state_of_another_form_is_told_and_learning_goes_on(
    sqlite: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    await put(sqlite, *planted_groups(FEW))
    await a_learning(sqlite).turn()
    states, saved = LearnedStates(sqlite), await state_of(sqlite)
    await states.save(replace(saved, version=2, state={"form": 99}))
    await put(sqlite, *planted_groups(5, start=START + 1000))
    learning = a_learning(sqlite)

    await learning.turn()

    model = learning.difficulty_for("default")
    assert model is not None
    assert (model.version, model.labels) == (3, 5)
    assert "version 2 of the difficulty of route 'default' cannot be read here" in caplog.text


async def test_enough_labels_let_the_score_decide_unless_nothing_may_be_lost(
    sqlite: AsyncEngine,
) -> None:
    await put(sqlite, *planted_groups(ENOUGH))
    bold, careful = a_learning(sqlite), a_learning(sqlite, max_loss=0.0)

    await bold.turn()
    await careful.turn()

    models = [learning.difficulty_for("default") for learning in (bold, careful)]
    assert [model.standing for model in models if model] == ["learned", "shadow"]


async def test_a_database_that_is_away_costs_nothing_but_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = open_engine(f"postgresql+psycopg://x@127.0.0.1:{free_port()}/x")
    learning = a_learning(engine, learn_every_s=0.1)

    await learning.start()
    await asyncio.sleep(0.5)
    await learning.close()

    assert learning.difficulty_for("default") is None
    assert caplog.text.count("what was learned cannot be read or kept") == 1
    with pytest.raises(StoreError):
        await learning.turn()
    await engine.dispose()


async def test_learning_goes_on_when_the_database_is_back(sqlite: AsyncEngine) -> None:
    """Its table is missing for a while, as during a migration."""
    await put(sqlite, *planted_groups(5))
    async with sqlite.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE learned RENAME TO elsewhere")
    learning = a_learning(sqlite, learn_every_s=0.1)
    await learning.start()
    await asyncio.sleep(0.3)
    assert learning.difficulty_for("default") is None

    async with sqlite.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO learned")
    for _ in range(200):
        if learning.difficulty_for("default") is not None:
            break
        await asyncio.sleep(0.05)
    await learning.close()

    assert learning.difficulty_for("default") is not None


async def test_groups_that_retention_deleted_stay_learned(sqlite: AsyncEngine) -> None:
    await put(sqlite, *planted_groups(FEW))
    learning = a_learning(sqlite)
    await learning.turn()
    async with sqlite.begin() as connection:
        await connection.execute(delete(groups))
    await put(sqlite, *planted_groups(5, start=START + 1000))

    await learning.turn()

    assert (await state_of(sqlite)).labels == FEW + 5
