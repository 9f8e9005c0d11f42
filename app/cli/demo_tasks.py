"""The sample tasks of `verivote demo`: one-digit sums and products, and stories with one sum.

The right result is kept beside each prompt to score the table, and is never sent anywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Family = Literal["arithmetic", "word problem"]
FAMILIES: tuple[Family, ...] = ("arithmetic", "word problem")

ARITHMETIC_SHARE = 0.6
DIGITS = range(2, 10)
WISHES: dict[Family, str] = {
    "arithmetic": "Reply with the number only.",
    "word problem": "Answer in one short sentence.",
}
"""How the reply is wished: without a wish this model talks on, and most replies are cut."""

_NAMES = ("Mara", "Tom", "Lena", "Omar", "Ida", "Paul", "Nina", "Sam")
_THINGS = ("apples", "stamps", "marbles", "shells", "books", "coins", "cards", "pencils")
_STORIES = (
    "{name} has {a} red {things} and {b} blue {things}. How many {things} does {name} have",
    "{name} has {a} {things}. {name} gets {b} more {things}. How many {things} does {name} have",
    "{name} found {a} {things} in the morning and {b} {things} in the evening. "
    "How many {things} did {name} find",
    "{name} has {a} {things}. {name} finds {b} more {things}. How many {things} does {name} have",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTask:
    """One question whose right result is known."""

    family: Family
    prompt: str
    result: int


def make_tasks(count: int, *, seed: int = 1) -> tuple[DemoTask, ...]:
    """The same `count` tasks for the same seed, three in five of them arithmetic, none twice.

    There are 128 sums and products to ask, so `count` is at most 200.
    """
    rng = random.Random(seed)
    sums = round(count * ARITHMETIC_SHARE)
    return (*_arithmetic(sums, rng), *_word_problems(count - sums, rng))


def _arithmetic(count: int, rng: random.Random) -> list[DemoTask]:
    asked = rng.sample([(a, sign, b) for sign in "+*" for a in DIGITS for b in DIGITS], count)
    return [
        DemoTask(
            family="arithmetic",
            prompt=f"Compute {a} {sign} {b}. {WISHES['arithmetic']}",
            result=a + b if sign == "+" else a * b,
        )
        for a, sign, b in asked
    ]


def _word_problems(count: int, rng: random.Random) -> list[DemoTask]:
    made: dict[str, DemoTask] = {}
    while len(made) < count:
        story = _STORIES[len(made) % len(_STORIES)]
        a, b = rng.choice(DIGITS), rng.choice(DIGITS)
        told = story.format(name=rng.choice(_NAMES), things=rng.choice(_THINGS), a=a, b=b)
        prompt = f"{told} in total? {WISHES['word problem']}"
        made[prompt] = DemoTask(family="word problem", prompt=prompt, result=a + b)
    return list(made.values())
