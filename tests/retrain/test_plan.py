"""How rows are dealt out. No tensors: the units here are made by hand."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.retrain.examples import Example, TrainingGroup
from app.retrain.plan import (
    Pick,
    Row,
    Step,
    count_steps,
    digest,
    learning_rate,
    make_step,
    make_units,
)
from app.retrain.shaping import Shaping


def an_example(group: int, sample: int, prompt: int = 2, tokens: int = 3) -> Example:
    return Example(
        group=f"g{group}",
        sample=sample,
        policy="policy-0",
        prompt_ids=array("i", [1] * prompt),
        completion_ids=array("i", [group + 2] * tokens),
        mu=array("f", [-1.0] * tokens),
        temperature=1.0,
        reward=float(sample % 2),
    )


def units(groups: int, *, samples: int = 4, seed: int = 0) -> tuple:
    rng = random.Random(seed)
    return tuple(
        tuple(
            (Row(example=an_example(g, s, 2, rng.randrange(1, 9)), advantage=0.5, group=g),)
            for s in range(samples)
        )
        for g in range(groups)
    )


def step_of(groups: tuple, number: int = 0, **changes: int) -> Step:
    options = {"seed": 0, "groups_per_step": 4, "token_budget": 40, "ranks": 1, **changes}
    return make_step(groups, number, **options)


def rows_of(step: Step) -> list[Row]:
    return [row for share in step.shares for batch in share for row in batch]


@given(
    groups=st.integers(1, 40),
    per_step=st.integers(1, 12),
    ranks=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_an_epoch_sees_every_row_once(groups, per_step, ranks, seed):
    made = units(groups)
    steps = count_steps(groups, groups_per_step=per_step, epochs=1, max_steps=10**6)

    seen = [
        (row.example.group, row.example.sample)
        for number in range(steps)
        for row in rows_of(step_of(made, number, groups_per_step=per_step, ranks=ranks, seed=seed))
    ]

    assert sorted(seen) == sorted((f"g{g}", s) for g in range(groups) for s in range(4))


def test_epochs_have_orders_of_their_own_and_seeds_too():
    made = units(16)

    def groups_of(number: int, seed: int) -> list[int]:
        return [row.group for row in rows_of(step_of(made, number, seed=seed))]

    assert groups_of(0, 0) == groups_of(0, 0)
    assert len({tuple(groups_of(number, seed)) for number in (0, 4) for seed in (0, 1)}) == 4


def test_a_curriculum_begins_with_what_is_right_most_often_and_later_epochs_are_drawn():
    rewards = [0.25, 0.75, 0.5, 0.25, 0.75, 0.5, 0.125, 0.875]
    made = tuple(
        tuple(
            (Row(example=replace(an_example(g, s), reward=reward), advantage=0.5, group=g),)
            for s in range(2)
        )
        for g, reward in enumerate(rewards)
    )

    def groups_of(number: int, seed: int = 0) -> list[int]:
        step = step_of(made, number, seed=seed, groups_per_step=2, easy_first=True)
        return sorted({row.group for row in rows_of(step)})

    def rewards_of(number: int) -> list[float]:
        return sorted(rewards[group] for group in groups_of(number))

    easy_to_hard = [[0.75, 0.875], [0.5, 0.75], [0.25, 0.5], [0.125, 0.25]]
    assert [rewards_of(number) for number in range(4)] == easy_to_hard
    # Which of equally easy ones comes first is drawn, and so is the whole of later epochs.
    assert len({tuple(groups_of(0, seed)) for seed in range(20)}) == 2
    assert [rewards_of(number) for number in range(4, 8)] != easy_to_hard


def test_groups_are_spread_evenly_over_steps():
    """Nine groups at four a step are two steps of four and five, not a third of one."""
    made = units(9)

    assert count_steps(9, groups_per_step=4, epochs=3, max_steps=128) == 6
    assert [step_of(made, n).denominators.groups for n in range(2)] == [4, 5]
    assert count_steps(9, groups_per_step=4, epochs=3, max_steps=5) == 5
    assert count_steps(1, groups_per_step=16, epochs=2, max_steps=128) == 2


@given(ranks=st.integers(1, 5), budget=st.integers(1, 100))
def test_a_group_is_in_one_process_and_all_have_equally_many_batches(ranks, budget):
    step = step_of(units(7), groups_per_step=7, ranks=ranks, token_budget=budget)

    homes: dict[int, set[int]] = {}
    for rank, share in enumerate(step.shares):
        for batch in share:
            for row in batch:
                homes.setdefault(row.group, set()).add(rank)
    assert all(len(ranks_of_group) == 1 for ranks_of_group in homes.values())
    assert len({len(share) for share in step.shares}) == 1


@given(budget=st.integers(1, 200))
def test_a_batch_keeps_to_the_budget_unless_one_unit_is_larger(budget):
    step = step_of(units(8), groups_per_step=8, token_budget=budget)

    for batch in step.shares[0]:
        padded = len(batch) * max(row.example.length for row in batch)
        assert padded <= budget or len(batch) == 1


def test_a_pair_stays_together():
    pairs = tuple(
        (tuple(Row(example=an_example(g, s, 2, 3 + g), advantage=0.5, group=g) for s in (0, 1)),)
        for g in range(6)
    )

    step = step_of(pairs, groups_per_step=6, token_budget=15)

    for batch in step.shares[0]:
        assert [row.example.sample for row in batch] == [0, 1] * (len(batch) // 2)


def test_denominators_count_the_whole_step_whatever_the_processes():
    made = units(8)

    one, three = (step_of(made, groups_per_step=8, ranks=ranks) for ranks in (1, 3))

    assert one.denominators == three.denominators
    assert one.denominators.tokens == sum(len(r.example.completion_ids) for r in rows_of(one))
    assert (one.denominators.rows, one.denominators.groups) == (32, 8)
    assert one.denominators.longest == 8
    assert one.size == sum(row.example.length for row in rows_of(one))
    assert one.reward == 0.5


def test_the_digest_tells_other_rows_and_other_advantages():
    made = units(3)
    other = (*made[:2], ((Row(example=an_example(2, 0), advantage=0.4, group=2),),))

    assert digest(made) == digest(units(3))
    assert len({digest(made), digest(made[:2]), digest(other)}) == 3


class TakesTheFirst:
    """An objective as far as this module knows one."""

    def prepare(self, group: TrainingGroup, shaping: Shaping) -> list[tuple[Pick, ...]]:
        if group.id == "g1":
            return []
        return [(Pick(example=group.examples[0], advantage=1.0),)]


def test_groups_that_teach_nothing_are_left_out_and_the_others_keep_their_weight():
    groups = [
        TrainingGroup(
            id=f"g{g}",
            examples=tuple(replace(an_example(g, s), group_weight=0.5 + g) for s in range(2)),
        )
        for g in range(3)
    ]

    made = make_units(groups, TakesTheFirst(), Shaping())

    assert [unit[0].example.group for (unit,) in made] == ["g0", "g2"]
    assert [unit[0].group for (unit,) in made] == [0, 1]
    assert [unit[0].weight for (unit,) in made] == [0.5, 2.5]


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(step, 20, peak=1.0, warmup=0.1) for step in range(20)]

    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.01
