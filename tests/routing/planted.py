"""Tasks whose difficulty is planted in their words: on hard ones single samples err, on easy ones
they do not. What a router could learn from them is known."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from app.routing.examples import Example
from app.routing.features import Features, read_features
from verifiers.base import AnswerContract

START = 1_790_000_000.0
NAMES = ("Ann", "Bob", "Cem", "Dora", "Eli", "Fay")
THINGS = ("apples", "coins", "books", "stamps", "shells")


def easy_prompt(draw: random.Random) -> str:
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    a, b = draw.randint(2, 99), draw.randint(2, 99)
    return f"{name} has {a} {thing} and buys {b} more. How many {thing} does {name} have?"


def hard_prompt(draw: random.Random) -> str:
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    a, b = draw.randint(2, 99), draw.randint(2, 99)
    return (
        f"In how many ways can {name} arrange {a} {thing} in a circle so that no {b} neighbours,"
        f" counted modulo {a}, are alike?"
    )


def features_of(prompt: str, **changes: Any) -> Features:
    read = {"verifiers": 0, "decisive": False, **changes}
    return read_features(prompt, AnswerContract(kind="number"), **read)


def an_example(prompt: str, gain: float | None = 0.0, **changes: Any) -> Example:
    fields: dict[str, Any] = {
        "received_at": START,
        "policy": "smol",
        "features": features_of(prompt),
        "gain": gain,
        "passed": None,
        "is_fair": True,
    }
    return Example(**{**fields, **changes})


def planted(count: int, seed: int = 0, **changes: Any) -> Iterator[Example]:
    """Half of the tasks are hard; two in three of these gain a third or two by voting."""
    draw = random.Random(seed)
    for number in range(count):
        is_hard = draw.random() < 0.5
        prompt = hard_prompt(draw) if is_hard else easy_prompt(draw)
        gain = draw.choice((0.0, 1 / 3, 2 / 3)) if is_hard else 0.0
        fields = {"received_at": START + 60 * number, "passed": draw.random() < 0.8, **changes}
        yield an_example(prompt, gain, **fields)
