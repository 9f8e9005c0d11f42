"""The small world's task: chains of sums and products modulo ten, worked from left to right.

`7t3p4t9p2=` is 7 times 3, plus 4, times 9, plus 2, last digits only: 1, 5, 5, 7. The answer is
`#### 7` on a line of its own, said at once or after the running values `:1557`. The mark is that of
GSM8K, so the verifier `number` reads it as it is; signs are letters, so that nothing else takes the
chain for a formula with the usual precedence. Every answer is as frequent as any other.

Saying the values is what makes the task easy for a small model; answering at once is mostly a
guess. So a model that can reason and usually does not has something to learn.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

OPERATIONS = 4
"""Of one chain; every prompt has the same length."""
MARK = "\n#### "
PLUS, TIMES = "p", "t"
HELD_OUT = 10
"""One prompt of so many is never trained on."""


def draw_prompt(rng: random.Random) -> str:
    """A chain whose answer was drawn first: products alone would end on 0 too often."""
    wanted = rng.choice("0123456789")
    while True:
        digits = [rng.choice("123456789") for _ in range(OPERATIONS + 1)]
        signs = [rng.choice((PLUS, TIMES)) for _ in range(OPERATIONS)]
        prompt = digits[0] + "".join(s + d for s, d in zip(signs, digits[1:], strict=True)) + "="
        if answer_of(prompt) == wanted:
            return prompt


def running_values(prompt: str) -> str:
    """The last digit after each operation."""
    value, shown = int(prompt[0]), ""
    for sign, digit in zip(prompt[1:-1:2], prompt[2:-1:2], strict=True):
        value = (value + int(digit) if sign == PLUS else value * int(digit)) % 10
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
