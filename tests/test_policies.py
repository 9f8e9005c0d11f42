"""Every gateway follows the table: loaded before it serves, an older one where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import StoreError
from app.policies import UNLOAD_AFTER_S, PolicyBook, draw
from app.store.policies import Policy
from tests.retrain.nights import NOON, World, world


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        for number in (1, 2, 3):
            await made.policies.add(a_policy(number, tmp_path))
        yield made


def a_policy(number: int, folder: Path, **changes: Any) -> Policy:
    path = folder / f"policy-{number}"
    path.mkdir()
    fields: dict[str, Any] = {
        "name": path.name,
        "engine": "main",
        "parent": f"policy-{number - 1}" if number > 1 else None,
        "base_model": "smol",
        "path": str(path),
        "sha256": f"{number:064x}",
        "created_at": NOON,
    }
    return Policy(**(fields | changes))


def book_of(here: World, share: float = 0.25) -> PolicyBook:
    engines: Any = {"main": here.adapters}
    return PolicyBook(here.database, engines, share=share, clock=lambda: here.now[0])


async def test_before_any_promotion_the_base_model_serves(here: World) -> None:
    book = book_of(here)
    await book.turn()

    assert (book.serving("main", "t"), book.is_degraded("main")) == (None, False)
    assert book.serving("other", "t") is None
    assert here.adapters.calls == []


async def test_a_policy_is_loaded_and_then_served(here: World) -> None:
    book = book_of(here)
    await here.policies.activate("policy-1", now=NOON)
    await book.turn()
    await book.turn()

    assert book.serving("main", "t") == "policy-1"
    assert here.adapters.calls == ["load policy-1"]


async def test_a_rollback_is_followed_at_the_next_look(here: World) -> None:
    book = book_of(here)
    await here.policies.activate("policy-1", now=NOON)
    await here.policies.activate("policy-2", now=NOON)
    await book.turn()
    before = book.serving("main", "t")
    loads = list(here.adapters.calls)
    await here.policies.rollback("main", now=NOON)
    await book.turn()

    assert (before, book.serving("main", "t")) == ("policy-2", "policy-1")
    assert sorted(loads) == ["load policy-1", "load policy-2"]
    assert here.adapters.calls == loads


async def test_files_that_are_gone_give_way_to_the_policy_before(
    here: World, tmp_path: Path
) -> None:
    files = tmp_path / "policy-2"
    await here.policies.activate("policy-1", now=NOON)
    await here.policies.activate("policy-2", now=NOON)
    await asyncio.to_thread(files.rmdir)
    book = book_of(here)
    await book.turn()
    fallen = book.serving("main", "t"), book.is_degraded("main")
    await asyncio.to_thread(files.mkdir)
    await book.turn()

    assert fallen == ("policy-1", True)
    assert (book.serving("main", "t"), book.is_degraded("main")) == ("policy-2", False)


async def test_without_any_adapter_the_base_model_serves_and_says_so(here: World) -> None:
    await here.policies.activate("policy-1", now=NOON)
    here.adapters.refuses = {"policy-1"}
    book = book_of(here)
    await book.turn()

    assert (book.serving("main", "t"), book.is_degraded("main")) == (None, True)


async def test_until_it_is_loaded_the_base_model_serves_and_says_so(here: World) -> None:
    await here.policies.activate("policy-1", now=NOON)
    book = book_of(here)
    loading = asyncio.Event()

    async def load(name: str, path: Path) -> None:
        loading.set()
        await asyncio.Event().wait()

    here.adapters.load_policy = load  # type: ignore[method-assign]
    turn = asyncio.create_task(book.turn())
    await loading.wait()
    meanwhile = book.serving("main", "t"), book.is_degraded("main")
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)

    assert meanwhile == (None, True)


async def test_a_server_that_forgot_its_adapters_gets_them_again(here: World) -> None:
    await here.policies.activate("policy-1", now=NOON)
    book = book_of(here)
    await book.turn()
    here.adapters.loaded.clear()
    await book.turn()

    assert here.adapters.loaded.keys() == {"policy-1"}
    assert book.serving("main", "t") == "policy-1"


async def test_while_the_server_is_away_nothing_changes(here: World) -> None:
    await here.policies.activate("policy-1", now=NOON)
    book = book_of(here)
    await book.turn()
    here.adapters.is_up = False
    await book.turn()

    assert (book.serving("main", "t"), book.is_degraded("main")) == ("policy-1", False)


async def test_a_canary_gets_its_share_and_a_request_stays_with_it(here: World) -> None:
    await here.policies.activate("policy-1", now=NOON)
    await here.policies.start_canary("policy-2", now=NOON)
    book = book_of(here, share=0.25)
    await book.turn()
    served = [book.serving("main", f"chatcmpl-{n}") for n in range(4_000)]

    assert served == [book.serving("main", f"chatcmpl-{n}") for n in range(4_000)]
    assert set(served) == {"policy-1", "policy-2"}
    assert served.count("policy-2") / len(served) == pytest.approx(0.25, abs=0.03)


async def test_a_canary_of_the_base_model_serves_beside_it(here: World) -> None:
    await here.policies.start_canary("policy-1", now=NOON)
    book = book_of(here, share=0.5)
    await book.turn()

    assert {book.serving("main", str(n)) for n in range(50)} == {None, "policy-1"}


async def test_a_canary_that_cannot_be_loaded_gets_nothing(here: World) -> None:
    await here.policies.start_canary("policy-1", now=NOON)
    here.adapters.refuses = {"policy-1"}
    book = book_of(here, share=0.9)
    await book.turn()

    assert {book.serving("main", str(n)) for n in range(50)} == {None}
    assert not book.is_degraded("main")


def test_another_canary_draws_other_requests() -> None:
    drawn = [(draw("policy-1", str(n)) < 0.5, draw("policy-2", str(n)) < 0.5) for n in range(400)]

    assert 0.35 < sum(a == b for a, b in drawn) / 400 < 0.65


async def test_what_was_taken_back_is_unloaded_when_nobody_can_wait_for_it(here: World) -> None:
    book = book_of(here)
    for number in (1, 2, 3):
        await here.policies.activate(f"policy-{number}", now=NOON)
        await book.turn()
    soon = set(here.adapters.loaded)
    here.now[0] += UNLOAD_AFTER_S
    await book.turn()

    assert soon == {"policy-1", "policy-2", "policy-3"}
    # One version is kept back.
    assert here.adapters.loaded.keys() == {"policy-2", "policy-3"}


async def test_a_policy_that_a_route_names_stays_loaded(here: World) -> None:
    engines: Any = {"main": here.adapters}
    book = PolicyBook(
        here.database, engines, share=0.1, clock=lambda: here.now[0], named={"policy-1", "", "x"}
    )
    for number in (1, 2, 3):
        await here.policies.activate(f"policy-{number}", now=NOON)
    here.now[0] += 2 * UNLOAD_AFTER_S
    await book.turn()

    assert here.adapters.loaded.keys() == {"policy-1", "policy-2", "policy-3"}
    assert book.serving("main", "t") == "policy-3"


async def test_a_candidate_that_a_night_has_loaded_stays(here: World) -> None:
    here.adapters.loaded |= {"policy-3": Path("…"), "somebody-elses": Path("…")}
    here.now[0] += 10 * UNLOAD_AFTER_S
    await book_of(here).turn()

    assert here.adapters.loaded.keys() == {"policy-3", "somebody-elses"}


async def test_a_database_that_is_away_leaves_what_served(here: World, tmp_path: Path) -> None:
    await here.policies.activate("policy-1", now=NOON)
    book = book_of(here)
    await book.turn()
    (tmp_path / "verivote.db").rename(tmp_path / "gone.db")
    await here.database.dispose()

    with pytest.raises(StoreError):
        await book.turn()
    assert book.serving("main", "t") == "policy-1"


async def test_a_gateway_starts_with_what_serves_loaded(here: World) -> None:
    await here.policies.activate("policy-1", now=NOON)
    book = book_of(here)
    await book.start()
    await book.close()

    assert book.serving("main", "t") == "policy-1"
