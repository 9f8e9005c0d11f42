"""Made-up answers of policies to held-out prompts."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from app.retrain.evidence import Drawn, Outcome, Pair

STORY = (
    "first we add the two numbers then carry one over to tens and check that nothing was lost "
    "before writing down what came out of it as a plain sum"
)
WORDS = tuple(re.findall(r"\w+", STORY))


def drawn(rng: random.Random, *, right: bool, **changes: Any) -> Drawn:
    """A healthy sample: some words of its own, an answer that differs from prompt to prompt."""
    words = rng.sample(WORDS, k=rng.randint(12, 24))
    answer = str(rng.randrange(1_000))
    fields: dict[str, Any] = {
        "text": f"{' '.join(words)}. The answer is {answer}",
        "finish_reason": "stop",
        "tokens": len(words) + 4,
        "answer": answer,
        "reward": float(right),
    }
    return Drawn(**(fields | changes))


def outcome(
    number: int,
    rng: random.Random,
    accuracy: float,
    *,
    samples: int = 8,
    cluster: str | None = None,
    slices: Mapping[str, str] | None = None,
    change: Callable[[random.Random], dict[str, Any]] = lambda rng: {},
    **fields: Any,
) -> Outcome:
    """One prompt; the policy is right with that probability, more often on easy prompts."""
    ease = random.Random(number).uniform(-0.2, 0.2)
    rights = [rng.random() < accuracy + ease for _ in range(samples)]
    said = {
        "prompt": f"p{number:05}",
        "cluster": cluster or f"c{number:05}",
        "drawn": tuple(drawn(rng, right=right, **change(rng)) for right in rights),
        "voted": sum(rights) > samples / 2,
        "verified": any(rights),
        "greedy": rng.random() < accuracy + ease,
        "slices": slices or {"task": "sums", "difficulty": "hard" if number % 2 else "easy"},
    }
    return Outcome(**(said | fields))


def pairs_of(
    incumbent: float,
    candidate: float,
    *,
    prompts: int = 220,
    seed: int = 0,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    **both: Any,
) -> tuple[Pair, ...]:
    """Two policies of these accuracies on the same prompts."""
    rng = random.Random(seed)
    return tuple(
        Pair(
            outcome(number, rng, incumbent, **{**both, **(old or {})}),
            outcome(number, rng, candidate, **{**both, **(new or {})}),
        )
        for number in range(prompts)
    )
