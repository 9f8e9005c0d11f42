"""Which rows go into which step, process and micro-batch. Pure, and the same in every process.

A row is an example with what an objective made of it. Rows that an objective needs side by side
(the two of a preference pair) travel as one unit. A group stays whole in one process. Because the
plan follows from seed and data alone, a run that is killed goes on exactly where it was, and the
denominators of a step are known everywhere without asking.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.retrain.examples import Example, TrainingGroup

if TYPE_CHECKING:
    from app.retrain.objectives.base import Objective
    from app.retrain.shaping import Shaping


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """An example that an objective takes, and how good it finds it."""

    example: Example
    advantage: float | tuple[float, ...]
    """Of the whole completion, or of each of its tokens."""

    @property
    def lowest(self) -> float:
        return min(self.advantage) if isinstance(self.advantage, tuple) else self.advantage


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Pick):
    """A pick with its place in the run."""

    group: int
    """Number of its group in the run."""
    weight: float = 1.0
    """q_g: weight of its group."""


Unit = tuple[Row, ...]
"""Rows that must be in one micro-batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denominators:
    """What sums over a whole step are divided by: all processes, all micro-batches."""

    tokens: int
    """Completion tokens."""
    rows: int
    groups: int
    longest: int
    """Completion tokens of the longest row of the run: a constant (Dr. GRPO's L_max)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One update of the weights."""

    shares: tuple[tuple[tuple[Row, ...], ...], ...]
    """`shares[rank]`: that process's micro-batches. All have equally many; filling ones are
    empty, because processes that shard the model must take every forward together."""
    denominators: Denominators
    reward: float
    """Mean reward of its rows."""
    size: int
    """Tokens of its rows, prompts too, padding not."""

    @property
    def any_row(self) -> Row:
        return next(row for share in self.shares for batch in share for row in batch)


def make_units(
    groups: Sequence[TrainingGroup], objective: Objective, shaping: Shaping
) -> tuple[tuple[Unit, ...], ...]:
    """The units of every group from which `objective` can learn; the others are left out."""
    picked = [(group.weight, objective.prepare(group, shaping)) for group in groups]
    kept = [(weight, units) for weight, units in picked if units]
    return tuple(
        tuple(
            tuple(
                Row(example=pick.example, advantage=pick.advantage, group=number, weight=weight)
                for pick in unit
            )
            for unit in units
        )
        for number, (weight, units) in enumerate(kept)
    )


def count_steps(groups: int, *, groups_per_step: int, epochs: int, max_steps: int) -> int:
    """Steps of a run. A last step with few groups would be mostly noise, so they are spread."""
    return min(max_steps, epochs * _per_epoch(groups, groups_per_step))


def _per_epoch(groups: int, groups_per_step: int) -> int:
    return max(1, round(groups / groups_per_step))


def learning_rate(step: int, steps: int, *, peak: float, warmup: float) -> float:
    """Linear up over the first `warmup` share of the steps, then a cosine down to nearly 0."""
    rising = min(steps, math.ceil(warmup * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def make_step(
    groups: Sequence[Sequence[Unit]],
    number: int,
    *,
    seed: int,
    groups_per_step: int,
    token_budget: int,
    easy_first: bool = False,
    ranks: int = 1,
) -> Step:
    """Step `number` (from 0) of a run over `groups`, which holds the units of each.

    Every epoch has an order of its own, drawn by seed; with `easy_first` that of the first one is
    from the groups with the highest mean reward to those with the lowest (a curriculum).
    """
    order = _order_of(
        groups, number, seed=seed, groups_per_step=groups_per_step, easy_first=easy_first
    )
    steps = _per_epoch(len(groups), groups_per_step)
    place = number % steps
    chosen = order[place * len(groups) // steps : (place + 1) * len(groups) // steps]
    packed = [
        _pack([unit for group in share for unit in groups[group]], token_budget)
        for share in _share(chosen, groups, ranks)
    ]
    most = max(len(batches) for batches in packed)
    rows = [row for group in chosen for unit in groups[group] for row in unit]
    return Step(
        shares=tuple((*batches, *[()] * (most - len(batches))) for batches in packed),
        denominators=Denominators(
            tokens=sum(len(row.example.completion_ids) for row in rows),
            rows=len(rows),
            groups=len(chosen),
            longest=_longest(groups),
        ),
        reward=sum(row.example.reward for row in rows) / len(rows),
        size=sum(row.example.length for row in rows),
    )


def _longest(groups: Sequence[Sequence[Unit]]) -> int:
    return max(
        len(row.example.completion_ids) for units in groups for unit in units for row in unit
    )


def _order_of(
    groups: Sequence[Sequence[Unit]],
    number: int,
    *,
    seed: int,
    groups_per_step: int,
    easy_first: bool,
) -> list[int]:
    """Places of all groups in the order of the epoch that step `number` belongs to."""
    epoch = number // _per_epoch(len(groups), groups_per_step)
    order = list(range(len(groups)))
    # A text seeds the generator the same way in every process and every version of Python.
    random.Random(f"{seed}/{epoch}").shuffle(order)
    if easy_first and epoch == 0:
        order.sort(key=lambda group: -_mean_reward(groups[group]))
    return order


def _mean_reward(units: Sequence[Unit]) -> float:
    rewards = [row.example.reward for unit in units for row in unit]
    return sum(rewards) / len(rewards)


def _share(chosen: Sequence[int], groups: Sequence[Sequence[Unit]], ranks: int) -> list[list[int]]:
    """Whole groups to processes, longest first to whoever has least."""
    sizes = {g: sum(row.example.length for unit in groups[g] for row in unit) for g in chosen}
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for group in sorted(chosen, key=lambda g: (-sizes[g], g)):
        rank = loads.index(min(loads))
        shares[rank].append(group)
        loads[rank] += sizes[group]
    return shares


def _pack(units: Sequence[Unit], token_budget: int) -> list[tuple[Row, ...]]:
    """Micro-batches of at most `token_budget` padded tokens, longest first.

    A unit that is larger than the budget has a micro-batch of its own.
    """
    batches: list[tuple[Row, ...]] = []
    current: list[Row] = []
    for unit in sorted(units, key=lambda u: -max(row.example.length for row in u)):
        rows = [*current, *unit]
        if current and len(rows) * max(row.example.length for row in rows) > token_budget:
            batches.append(tuple(current))
            rows = list(unit)
        current = rows
    if current:
        batches.append(tuple(current))
    return batches


def digest(groups: Sequence[Sequence[Unit]]) -> str:
    """Hex sha256 of all rows as they will be trained on, in order."""
    running = hashlib.sha256()
    for units in groups:
        for unit in units:
            for row in unit:
                example = row.example
                running.update(example.prompt_ids.tobytes() + b"/")
                running.update(example.completion_ids.tobytes() + b"/")
                running.update(b"" if example.mu is None else example.mu.tobytes())
                said = (row.advantage, row.weight, row.group, example.temperature)
                running.update(repr(said).encode())
    return running.hexdigest()
