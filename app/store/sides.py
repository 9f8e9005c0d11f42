"""On which side of the split a prompt is, for ever: settled when it is first logged.

A prompt that resembles no earlier one founds a cluster, and its own hash says the side. A
near-duplicate joins the cluster of what it resembles most and is on that side: what is trained on
tells nothing about the held-out prompts. A template that thousands of prompts fill in must not end
up on one side as a whole, so a cluster that has `LARGEST` prompts takes no further ones that merely
resemble it; those found the next cluster. Equal bags of words always stay together.
A prompt between clusters of different sides is `audit`: it neither trains nor decides.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.sketch import NEAR, Sketch, likeness, sketch_of
from app.store.tables import prompt_bands, prompts

Split = Literal["train", "gate", "audit"]

LARGEST = 32
"""Different prompts in a cluster before it counts as a template."""
_LOCK = 0x7665_7273
"""Advisory lock on Postgres: gateways settle sides one after another."""


@dataclass(frozen=True, slots=True)
class Side:
    """Where a prompt belongs."""

    cluster: str
    """Hash of the prompt that founded the cluster."""
    split: Split


def split_of(prompt_hash: str | None) -> Split:
    """The side that a hash (hex sha256) says: 5 in 100 `gate`, 2 in 100 `audit`, the rest `train`.

    `gate` and `audit` are held out. A prompt that was not kept counts as `train` and never trains.
    """
    place = int(prompt_hash, 16) % 100 if prompt_hash else 99
    return "gate" if place < 5 else "audit" if place < 7 else "train"


@dataclass(frozen=True, slots=True)
class Known:
    """A prompt that has a side."""

    hash: str
    side: Side
    sketch: Sketch


@dataclass(slots=True)
class Neighbourhood:
    """Prompts that may resemble new ones, and how large their clusters are. Pure."""

    sizes: dict[str, int] = field(default_factory=dict)
    """Different prompts of each cluster."""
    _by_bag: dict[int, Known] = field(default_factory=dict)
    _by_band: defaultdict[int, list[Known]] = field(default_factory=lambda: defaultdict(list))

    def add(self, known: Known) -> None:
        self._by_bag.setdefault(known.sketch.bag, known)
        for band in known.sketch.bands:
            self._by_band[band].append(known)

    def place(self, prompt_hash: str, sketch: Sketch) -> Known:
        """Settle the side of a new prompt and count it in."""
        side = self._side_of(prompt_hash, sketch)
        placed = Known(hash=prompt_hash, side=side, sketch=sketch)
        self.sizes[side.cluster] = self.sizes.get(side.cluster, 0) + 1
        self.add(placed)
        return placed

    def _side_of(self, prompt_hash: str, sketch: Sketch) -> Side:
        if (same := self._by_bag.get(sketch.bag)) is not None:
            return same.side
        alike = self._alike(sketch)
        if not alike:
            return Side(prompt_hash, split_of(prompt_hash))
        _, nearest = min(alike, key=lambda found: (-found[0], found[1].hash))
        splits = {known.side.split for _, known in alike}
        return Side(nearest.side.cluster, nearest.side.split if len(splits) == 1 else "audit")

    def _alike(self, sketch: Sketch) -> list[tuple[float, Known]]:
        candidates = {
            known.hash: known
            for band in sketch.bands
            for known in self._by_band.get(band, ())
            if self.sizes[known.side.cluster] < LARGEST
        }
        rated = ((likeness(sketch.runs, k.sketch.runs), k) for k in candidates.values())
        return [(value, known) for value, known in rated if value >= NEAR]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt on its way into the log."""

    text: str
    """As `normal_prompt` writes it."""
    seen_at: float
    """Unix time in seconds."""


async def settle_sides(
    connection: AsyncConnection, wanted: Mapping[str, Prompt]
) -> dict[str, Side]:
    """The side of each prompt, by hash; new ones are settled and written in this transaction.

    `wanted` is in the order of arrival.
    """
    found = await _read_sides(connection, wanted)
    if len(found) == len(wanted):
        return found
    await _lock(connection)
    found |= await _read_sides(connection, [h for h in wanted if h not in found])
    new = {h: prompt for h, prompt in wanted.items() if h not in found}
    if not new:
        return found
    sketches = await asyncio.to_thread(lambda: {h: sketch_of(p.text) for h, p in new.items()})
    near = await _read_neighbourhood(connection, sketches.values())
    placed = [near.place(h, sketch) for h, sketch in sketches.items()]
    await _write(connection, placed, near.sizes, new)
    return found | {known.hash: known.side for known in placed}


async def _lock(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    else:
        # A write that changes nothing: SQLite gives the lock to one writer until it commits.
        await connection.execute(delete(prompts).where(prompts.c.hash == ""))


async def _read_sides(connection: AsyncConnection, hashes: Iterable[str]) -> dict[str, Side]:
    query = select(prompts.c.hash, prompts.c.cluster, prompts.c.split)
    rows = await connection.execute(query.where(prompts.c.hash.in_(list(hashes))))
    return {row.hash: Side(row.cluster, row.split) for row in rows}


async def _read_neighbourhood(
    connection: AsyncConnection, sketches: Iterable[Sketch]
) -> Neighbourhood:
    sketches = list(sketches)
    bags = [sketch.bag for sketch in sketches]
    bands = [band for sketch in sketches for band in sketch.bands]
    sharing = select(prompt_bands.c.prompt).where(prompt_bands.c.band.in_(bands))
    close = select(prompts).where(prompts.c.bag.in_(bags) | prompts.c.hash.in_(sharing))
    rows = (await connection.execute(close.order_by(prompts.c.seen_at, prompts.c.hash))).all()
    hashes = [row.hash for row in rows]
    bands_of: defaultdict[str, list[int]] = defaultdict(list)
    in_use = select(prompt_bands).where(prompt_bands.c.prompt.in_(hashes))
    for band in await connection.execute(in_use):
        bands_of[band.prompt].append(band.band)
    clusters = {row.cluster for row in rows}
    count = select(prompts.c.cluster, func.count()).where(prompts.c.cluster.in_(clusters))
    sizes = (await connection.execute(count.group_by(prompts.c.cluster))).all()
    near = Neighbourhood(sizes={cluster: size for cluster, size in sizes})
    for row in rows:
        sketch = Sketch(bag=row.bag, runs=row.runs or (), bands=tuple(bands_of[row.hash]))
        near.add(Known(hash=row.hash, side=Side(row.cluster, row.split), sketch=sketch))
    return near


async def _write(
    connection: AsyncConnection,
    placed: list[Known],
    sizes: Mapping[str, int],
    new: Mapping[str, Prompt],
) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    # Nobody is compared with a full cluster again, so its runs and bands are not kept.
    full = {known.side.cluster for known in placed if sizes[known.side.cluster] >= LARGEST}
    rows = [
        {
            "hash": known.hash,
            "bag": known.sketch.bag,
            "cluster": known.side.cluster,
            "split": known.side.split,
            "runs": None if known.side.cluster in full else known.sketch.runs,
            "seen_at": new[known.hash].seen_at,
        }
        for known in placed
    ]
    await connection.execute(dialect.insert(prompts).on_conflict_do_nothing(), rows)
    bands = [
        {"band": band, "prompt": known.hash}
        for known in placed
        if known.side.cluster not in full
        for band in known.sketch.bands
    ]
    if bands:
        await connection.execute(dialect.insert(prompt_bands).on_conflict_do_nothing(), bands)
    if full:
        members = select(prompts.c.hash).where(prompts.c.cluster.in_(full))
        await connection.execute(delete(prompt_bands).where(prompt_bands.c.prompt.in_(members)))
        await connection.execute(
            update(prompts).where(prompts.c.cluster.in_(full)).values(runs=None)
        )
