"""The small world's task: chains of sums and products modulo ten, worked from left to right.

`7*3+4*9+2=` has the answer `#### 7`, which may be said at once or after the running values:
`:1557#### 7`. The mark is that of GSM8K, so the verifier `number` reads it as it is.
Saying the values is what makes the task easy for a small model; answering at once is mostly a
guess. So a model that can reason and usually does not has something to learn.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

OPERATIONS = 4
"""Of one chain; every prompt has the same length."""
MARK = "#### "
HELD_OUT = 10
"""One prompt of so many is never trained on."""


def draw_prompt(rng: random.Random, operations: int = OPERATIONS) -> str:
    digits = [rng.choice("123456789") for _ in range(operations + 1)]
    signs = [rng.choice("+*") for _ in range(operations)]
    return digits[0] + "".join(map("".join, zip(signs, digits[1:], strict=True))) + "="


def running_values(prompt: str) -> str:
    """The last digit after each operation."""
    value, shown = int(prompt[0]), ""
    for sign, digit in zip(prompt[1:-1:2], prompt[2:-1:2], strict=True):
        value = (value + int(digit) if sign == "+" else value * int(digit)) % 10
        shown += str(value)
    return shown


def answer_of(prompt: str) -> str:
    return running_values(prompt)[-1]


def at_once(prompt: str) -> str:
    return f"{MARK}{answer_of(prompt)}"


def worked_out(prompt: str) -> str:
    return f":{running_values(prompt)}{MARK}{answer_of(prompt)}"


def is_held_out(prompt: str) -> bool:
    return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % HELD_OUT == 0


def prompts(seed: int, *, held_out: bool) -> Iterator[str]:
    """Different prompts without end, all of one side."""
    rng, seen = random.Random(seed), set[str]()
    while True:
        prompt = draw_prompt(rng)
        if is_held_out(prompt) == held_out and prompt not in seen:
            seen.add(prompt)
            yield prompt
