"""The sample tasks of `verivote demo`: small sums, and stories with one step.

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
WISH = "Reply with the number only."

_NAMES = ("Mara", "Tom", "Lena", "Omar", "Ida", "Paul", "Nina", "Sam")
_THINGS = ("apples", "stamps", "marbles", "shells", "books", "coins", "cards", "pencils")
_STORIES = (
    ("+", "{name} has {a} {things} and finds {b} more."),
    ("+", "{name} buys {a} {things} today and {b} {things} tomorrow."),
    ("-", "{name} has {a} {things} and gives away {b} of them."),
    ("*", "{name} has {a} boxes with {b} {things} in each box."),
)
_QUESTION = "How many {things} does {name} have in the end?"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTask:
    """One question whose right result is known."""

    family: Family
    prompt: str
    result: int


def make_tasks(count: int, *, seed: int = 1) -> tuple[DemoTask, ...]:
    """The same `count` tasks for the same seed, three in five of them arithmetic, none twice.

    There are 128 different sums; `count` is at most 200.
    """
    rng = random.Random(seed)
    sums = round(count * ARITHMETIC_SHARE)
    return (*_arithmetic(sums, rng), *_word_problems(count - sums, rng))


def _arithmetic(count: int, rng: random.Random) -> list[DemoTask]:
    asked = rng.sample([(a, sign, b) for sign in "+*" for a in DIGITS for b in DIGITS], count)
    return [
        DemoTask(
            family="arithmetic",
            prompt=f"Compute {a} {sign} {b}. {WISH}",
            result=_result(a, sign, b),
        )
        for a, sign, b in asked
    ]


def _word_problems(count: int, rng: random.Random) -> list[DemoTask]:
    made: dict[str, DemoTask] = {}
    while len(made) < count:
        sign, story = _STORIES[len(made) % len(_STORIES)]
        a, b = rng.choice(DIGITS), rng.choice(DIGITS)
        if sign == "-":
            a += b
        told = f"{story} {_QUESTION} {WISH}".format(
            name=rng.choice(_NAMES), things=rng.choice(_THINGS), a=a, b=b
        )
        made[told] = DemoTask(family="word problem", prompt=told, result=_result(a, sign, b))
    return list(made.values())


def _result(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[sign]
