"""Small tasks for a small real model, in two worlds that share no number and no name.

Every number and every name belongs to one side, `train` or `held_out`, and a prompt is made of one
side's only. So no sum, no swapped pair, no number inside a word problem and no person of the
held-out prompts was ever trained on. What both sides share are the sentences around them, which is
what a product's prompts share as well.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

World = Literal["train", "held_out"]

HELD_OUT_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, what checks its answers, and what it is made of."""

    family: str
    prompt: str
    verifiers: tuple[dict[str, Any], ...]
    cluster: str
    """Equal for prompts made of the same numbers, whatever their order: no two of them count as
    independent."""


def side(token: str) -> World:
    """The world of a number or a name."""
    place = int(hashlib.sha256(f"real world {token}".encode()).hexdigest()[:8], 16) / 2**32
    return "held_out" if place < HELD_OUT_SHARE else "train"


def numbers(world: World, low: int, high: int) -> list[int]:
    """Those from `low` to `high`, both included, that belong to the world."""
    return [n for n in range(low, high + 1) if side(str(n)) == world]


# fmt: off
NAMES = (
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Henry", "Ines", "Jack", "Kate",
    "Leo", "Maria", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Xavier",
    "Yara", "Zoe",
)
CITIES = (
    "Paris", "London", "Rome", "Berlin", "Madrid", "Vienna", "Oslo", "Dublin", "Athens",
    "Lisbon", "Prague", "Warsaw", "Cairo", "Tokyo", "Lima", "Sydney",
)
# fmt: on
THINGS = ("apples", "books", "coins", "pencils", "stamps", "marbles", "cards", "shells")
SUMS = (
    "What is {a} + {b}?",
    "What is {a} plus {b}?",
    "Add {a} and {b}.",
    "Calculate {a} + {b}.",
)
PRODUCTS = (
    "What is {a} * {b}?",
    "What is {a} times {b}?",
    "Multiply {a} by {b}.",
    "Calculate {a} x {b}.",
)
STORIES = (
    "{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?",
    "{name} has {a} {thing}. A friend gives {name} {b} {thing}. How many are there in all?",
    "There are {a} {thing} in a box and {b} {thing} in a bag. How many {thing} are there?",
)
RECORDS = (
    "{name} is {a} years old and lives in {city}.",
    "{name}, who is {a}, lives in {city}.",
    "In {city} there lives {name}, aged {a}.",
)
ASK_NUMBER = " Answer with the number."
ASK_JSON = 'Write JSON with the keys "name", "age" and "city" for this: '


def _number(value: int) -> dict[str, Any]:
    return {"use": "number", "reference": str(value)}


def _pair(family: str, a: int, b: int) -> str:
    return f"{family} {min(a, b)} {max(a, b)}"


def _sum(world: World, draw: random.Random, *, family: str, low: int, high: int) -> Question:
    known = numbers(world, low, high)
    a, b = draw.choice(known), draw.choice(known)
    prompt = draw.choice(SUMS).format(a=a, b=b) + ASK_NUMBER
    # The same two numbers are the same question in every family that adds them.
    return Question(family, prompt, (_number(a + b),), _pair("sum", a, b))


def _product(world: World, draw: random.Random) -> Question:
    known = numbers(world, 2, 12)
    a, b = draw.choice(known), draw.choice(known)
    prompt = draw.choice(PRODUCTS).format(a=a, b=b) + ASK_NUMBER
    return Question("product", prompt, (_number(a * b),), _pair("product", a, b))


def _story(world: World, draw: random.Random) -> Question:
    known = numbers(world, 2, 20)
    a, b = draw.choice(known), draw.choice(known)
    name = draw.choice([n for n in NAMES if side(n) == world])
    text = draw.choice(STORIES).format(a=a, b=b, name=name, thing=draw.choice(THINGS))
    return Question("story", text + ASK_NUMBER, (_number(a + b),), _pair("sum", a, b))


def _record(world: World, draw: random.Random) -> Question:
    a = draw.choice(numbers(world, 13, 90))
    name = draw.choice([n for n in NAMES if side(n) == world])
    city = draw.choice([c for c in CITIES if side(c) == world])
    text = draw.choice(RECORDS).format(a=a, name=name, city=city)
    wanted = {"name": name, "age": a, "city": city}
    checked = {"use": "json_equal", "reference": wanted}
    return Question("record", ASK_JSON + text, (checked,), f"record {name} {city}")


FAMILIES: dict[str, Callable[[World, random.Random], Question]] = {
    "sum_small": partial(_sum, family="sum_small", low=1, high=12),
    "sum_large": partial(_sum, family="sum_large", low=11, high=60),
    "product": _product,
    "story": _story,
    "record": _record,
}


def questions(world: World, seed: int) -> Iterator[Question]:
    """For ever, family after family, no prompt twice for as long as there is another one."""
    draw = random.Random(f"{world} {seed}")
    seen: set[str] = set()
    while True:
        for make in FAMILIES.values():
            for _ in range(50):
                question = make(world, draw)
                if question.prompt not in seen:
                    break
            seen.add(question.prompt)
            yield question
