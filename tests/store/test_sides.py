"""Near-duplicates stay on one side of the split, templates do not."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable

from sqlalchemy import func, select

from app.store import schema
from app.store.database import open_engine
from app.store.sides import (
    LARGEST,
    Known,
    Neighbourhood,
    Prompt,
    Side,
    settle_sides,
    split_of,
)
from app.store.sketch import sketch_of
from app.store.sql import SqlStore
from app.store.tables import groups, prompt_bands, prompts
from tests.store.groups import START, make_group, trace_id_at

STORY = (
    "natalia sold clips to 48 of her friends in april, and then she sold half as many clips in "
    "may. how many clips did natalia sell altogether in april and may?"
)
FORM = " ".join(f"rule {i} says: never do the {i}th thing." for i in range(12))


def hash_of(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def place_all(texts: Iterable[str], near: Neighbourhood | None = None) -> list[Known]:
    near = near or Neighbourhood()
    return [near.place(hash_of(text), sketch_of(text)) for text in texts]


async def settle(url: str, *texts: str, at: float = START) -> list[Side]:
    engine = open_engine(url)
    async with engine.begin() as connection:
        wanted = {hash_of(text): Prompt(text=text, seen_at=at) for text in texts}
        found = await settle_sides(connection, wanted)
    await engine.dispose()
    return [found[hash_of(text)] for text in texts]


def test_a_prompt_like_no_other_is_where_its_hash_says() -> None:
    (placed,) = place_all([STORY])

    assert placed.side == Side(hash_of(STORY), split_of(hash_of(STORY)))


def test_no_sum_is_held_out_while_its_swapped_pair_trains() -> None:
    sums = [(a, b) for a in range(40) for b in range(40)]
    placed = place_all(f"what is {a} + {b}?" for a, b in sums)
    sides = dict(zip(sums, (known.side for known in placed), strict=True))

    assert all(sides[a, b] == sides[b, a] for a, b in sums)


def test_a_family_of_sums_is_on_every_side() -> None:
    placed = place_all(f"what is {a} + {b}?" for a in range(40) for b in range(40))
    shares = Counter(known.side.split for known in placed)

    assert 0.03 < shares["gate"] / 1_600 < 0.07
    assert 0.01 < shares["audit"] / 1_600 < 0.035


def test_a_long_template_is_spread_over_clusters_of_bounded_size() -> None:
    placed = place_all(f"{FORM} classify: item{i}" for i in range(10 * LARGEST))
    sizes = Counter(known.side.cluster for known in placed)

    assert max(sizes.values()) == LARGEST
    assert len(sizes) < 15


def test_equal_words_follow_into_a_full_cluster() -> None:
    near = Neighbourhood()
    first, *_ = place_all((f"{FORM} classify: item{i}" for i in range(LARGEST + 5)), near)
    (again,) = place_all([f"classify: item0 {FORM}"], near)

    assert again.side == first.side


def test_a_prompt_between_two_sides_neither_trains_nor_decides() -> None:
    near = Neighbourhood(sizes={"a": 1, "b": 1})
    near.add(Known(hash="a", side=Side("a", "train"), sketch=sketch_of(f"one {STORY}")))
    near.add(Known(hash="b", side=Side("b", "gate"), sketch=sketch_of(f"{STORY} two")))
    (between,) = place_all([STORY], near)

    assert between.side.split == "audit"
    assert between.side.cluster in ("a", "b")


async def test_a_side_is_for_ever(url: str) -> None:
    """A later prompt with a smaller hash changes nothing, and neither does the order of asking."""
    await schema.upgrade(url)
    (first,) = await settle(url, STORY)
    later = await settle(url, *(f"{word} {STORY}" for word in ("please", "now", "well", "ok")))
    (again,) = await settle(url, STORY, at=START + 1)

    assert {first, again, *later} == {Side(hash_of(STORY), split_of(hash_of(STORY)))}


async def test_a_full_cluster_keeps_nothing_to_compare(url: str) -> None:
    await schema.upgrade(url)
    filled = [f"{FORM} classify: item{i}" for i in range(LARGEST + 3)]
    sides = await settle(url, *filled[:20]) + await settle(url, *filled[20:])
    engine = open_engine(url)
    async with engine.connect() as connection:
        left = set((await connection.execute(select(prompt_bands.c.prompt))).scalars())
        with_runs = select(func.count()).where(prompts.c.runs.is_not(None))
        runs = (await connection.execute(with_runs)).scalar()
    await engine.dispose()

    assert len(set(sides)) == 2
    assert left == {hash_of(text) for text in filled[LARGEST:]}
    assert runs == 3


async def test_gateways_that_log_at_once_agree_on_the_side(url: str) -> None:
    await schema.upgrade(url)
    variants = [f"{word} {STORY}" for word in ("please", "now", "well", "ok", "so", "then")]
    sides = await asyncio.gather(*(settle(url, variant) for variant in variants))

    assert len({side for (side,) in sides}) == 1


async def test_the_log_has_the_side(store: SqlStore) -> None:
    texts = [STORY, f"please: {STORY}", "what is 2 + 2?"]
    for place, prompt in enumerate(texts):
        messages = ({"role": "user", "content": prompt},)
        task = {"messages": messages, "trace_id": trace_id_at(START, place)}
        await store.append(make_group(task=task))
    secret = {"content": "hash", "trace_id": trace_id_at(START, 9)}
    await store.append(make_group(task=secret))
    await store._drainer.settle(within_s=5)
    async with store.engine.connect() as connection:
        query = select(groups.c.cluster, groups.c.split).order_by(groups.c.trace_id)
        rows = [tuple(row) for row in await connection.execute(query)]
    founder, other = hash_of(STORY), hash_of("what is 2 + 2?")

    assert rows[:3] == [(h, split_of(h)) for h in (founder, founder, other)]
    assert rows[3][0] is None
