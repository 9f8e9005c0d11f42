"""A real night is worth something only if held-out prompts share nothing with the rest."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

from bench.real_world.task import CITIES, FAMILIES, NAMES, World, numbers, questions, side

MANY = 3_000


def parts_of(world: World, seed: int) -> set[str]:
    """Numbers and names in what is asked."""
    found: set[str] = set()
    for question in islice(questions(world, seed), MANY):
        words = re.findall(r"[A-Za-z]+|\d+", question.prompt)
        found.update(word for word in words if word.isdigit() or word in NAMES or word in CITIES)
    return found


def test_no_number_and_no_name_is_on_both_sides() -> None:
    trained = set.union(*(parts_of("train", seed) for seed in range(4)))
    held_out = parts_of("held_out", 77)

    assert trained.isdisjoint(held_out)
    assert {side(part) for part in trained} == {"train"}
    assert {side(part) for part in held_out} == {"held_out"}


def test_so_no_answer_can_be_known_from_a_swapped_pair() -> None:
    def clusters(world: World) -> set[str]:
        return {question.cluster for question in islice(questions(world, 1), MANY)}

    assert clusters("train").isdisjoint(clusters("held_out"))


def test_both_sides_have_numbers_of_every_size() -> None:
    for low, high in ((1, 12), (13, 60), (61, 90)):
        assert len(numbers("train", low, high)) > 3
        assert len(numbers("held_out", low, high)) > 3


def test_the_same_numbers_are_one_cluster_in_every_order_and_family() -> None:
    of_pair: dict[tuple[str, ...], set[str]] = {}
    for question in islice(questions("held_out", 5), MANY):
        if question.family != "record":
            operands = tuple(sorted(re.findall(r"\d+", question.prompt)))
            kind = "product" if question.family == "product" else "sum"
            of_pair.setdefault((kind, *operands), set()).add(question.cluster)

    assert all(len(clusters) == 1 for clusters in of_pair.values())


def test_families_are_asked_in_turn_and_a_seed_asks_the_same() -> None:
    asked = list(islice(questions("train", 3), 100))

    assert set(Counter(question.family for question in asked).values()) == {100 // len(FAMILIES)}
    assert asked == list(islice(questions("train", 3), 100))
    assert asked != list(islice(questions("train", 4), 100))
