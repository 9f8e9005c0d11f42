"""The nightly fit and the way back, while gateways go on learning."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import NotFound, StoreError
from app.refit import TRIES, refit, use_version
from app.store import schema
from app.store.database import open_engine
from app.store.labelled import LabelledLog
from app.store.learned import LearnedStates
from app.store.tables import labels
from tests.labelled_groups import EVERY_S, planted_groups, put, word_on
from tests.store.groups import START
from tests.test_learning import LATER, a_learning, state_of

FEW = 40


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'one.db'}"
    await schema.upgrade(url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


async def fitted(engine: AsyncEngine, now: float = LATER):
    (done,) = await refit(
        LabelledLog(engine),
        LearnedStates(engine),
        now=now,
        settle_s=0,
        max_loss=0.01,
        tell=lambda said: None,
    )
    return done


async def test_a_fit_of_what_was_learned_in_order_gives_the_same_state(engine) -> None:
    await put(engine, *planted_groups(FEW))
    await a_learning(engine).turn()
    lived = (await state_of(engine)).state

    done = await fitted(engine)

    assert done.saved.version == 2
    assert (await state_of(engine)).state == lived


async def test_a_fit_puts_right_what_came_too_late_to_be_learned_in_its_place(engine) -> None:
    kept = list(planted_groups(FEW))
    await put(engine, *kept[1:])
    await a_learning(engine).turn()
    await put(engine, kept[0])
    await a_learning(engine).turn()
    assert (await state_of(engine)).labels == FEW - 1

    assert (await fitted(engine)).saved.labels == FEW


async def test_what_gateways_learned_during_the_fit_is_in_it(engine) -> None:
    """They go on after their own last label and would never read it again."""
    await put(engine, *planted_groups(2 * FEW))
    await a_learning(engine).turn()
    newest = await state_of(engine)

    done = await fitted(engine, now=START + FEW * EVERY_S)

    assert done.saved.labels == newest.labels == 2 * FEW
    assert done.saved.last_trace_id == newest.last_trace_id
    assert (await state_of(engine)).state == newest.state


async def test_gateways_learn_on_from_a_fit(engine) -> None:
    await put(engine, *planted_groups(FEW))
    learning = a_learning(engine)
    await learning.turn()
    await fitted(engine)
    await put(engine, *planted_groups(5, start=START + 2 * FEW * EVERY_S))

    await learning.turn()

    saved = await state_of(engine)
    assert (saved.version, saved.labels) == (3, FEW + 5)


async def test_what_was_set_back_is_not_learned_again(engine) -> None:
    await put(engine, *planted_groups(FEW))
    learning = a_learning(engine)
    await learning.turn()
    await put(engine, *planted_groups(FEW, start=START + 2 * FEW * EVERY_S, seed=1))
    await learning.turn()
    states = LearnedStates(engine)

    again = await use_version(states, "default", 1, now=LATER)
    await learning.turn()
    await a_learning(engine).turn()

    assert (again.version, again.labels) == (3, FEW)
    assert (await state_of(engine)).version == 3
    model = learning.difficulty_for("default")
    assert model is not None
    assert (model.version, model.labels) == (3, FEW)
    with pytest.raises(NotFound, match="no version 9; kept are 3, 2, 1"):
        await use_version(states, "default", 9, now=LATER)


async def test_a_log_that_never_rests_is_told_after_some_tries(engine) -> None:
    await put(engine, *planted_groups(5))
    await a_learning(engine).turn()
    tries = 0

    class Busy(LearnedStates):
        async def save(self, *versions):
            nonlocal tries
            tries += 1
            return False

    with pytest.raises(StoreError, match="try again"):
        await use_version(Busy(engine), "default", 1, now=LATER)
    assert tries == TRIES


async def test_a_persons_late_word_counts_in_a_fit(engine) -> None:
    kept = list(planted_groups(FEW))
    await put(engine, *kept)
    async with engine.begin() as connection:
        await connection.execute(insert(labels), word_on(kept[0], "wrong", START + 10**5))

    done = await fitted(engine)

    assert done.saved.labels == FEW + 1
    assert replace(done.saved, state={}) == replace(await state_of(engine), state={})
