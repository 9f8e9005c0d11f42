"""Logistic regression that learns one task at a time: counts by name, words by hashed place.

Steps are AdaGrad's (Duchi, Hazan and Singer 2011): each weight has its own, smaller the more it has
moved. Nothing is drawn at random, and weights of places are kept in single precision while they are
learned, not only when they are stored: so the same tasks in the same order give the same weights to
the last bit, whether learned in one go or with a stop at every one.
"""

from __future__ import annotations

import math
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from app.routing.features import GRAM_BITS, Features

PLACES = 2**GRAM_BITS
RATE = 0.1
EASY_ENOUGH = 0.01
"""Less gain than this is learned as this: the scores of easy tasks would else sink for ever, and
leave those of the newest behind."""
_FLOOR = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the models see of a task."""

    named: Mapping[str, float]
    """Counts and switches by name, about 0 for a usual prompt and about 1 away from it for an
    unusual one, in a fixed order."""
    places: tuple[int, ...]
    """Hashed runs of words; together they weigh as much as one count."""
    asker: tuple[int, ...]
    """Hashed places of the tenant and of the system prompt."""


def inputs_of(features: Features, pass_rate: float | None) -> Inputs:
    """`pass_rate`: share of the route's answers that passed, up to the last full hour."""
    f = features
    named = {
        "bias": 1.0,
        "chars": (math.log1p(f.chars) - 5) / 1.5,
        "tokens": (math.log1p(f.tokens) - 4) / 1.5,
        "words": (math.log1p(f.words) - 3.5) / 1.5,
        "numbers": (min(f.numbers, 12) - 3) / 3,
        "operators": min(f.operators, 8) / 3,
        "latex": math.log1p(min(f.latex, 40)) / 2,
        "questions": min(f.questions, 4) - 1.0,
        "clauses": (min(f.clauses, 16) - 4) / 4,
        "reasoning_words": min(f.reasoning_words, 4) / 2,
        "code": float(f.code),
        "verifiers": min(f.verifiers, 4) / 2,
        "decisive_verifier": float(f.decisive),
        "fail_rate": 0.0 if pass_rate is None else 1 - pass_rate,
        f"answer_kind={f.answer_kind}": 1.0,
    }
    asker = (_place(f"system\x1f{f.system}"), _place(f"tenant\x1f{f.tenant}"))
    return Inputs(named=named, places=f.grams, asker=asker)


class OnlineModel:
    """P(gain) as a logistic sum. Mutable while it learns; whoever serves has one that does not."""

    def __init__(self) -> None:
        self._named: dict[str, list[float]] = {}
        """Weight and sum of squared slopes, by name."""
        self._weights = array("f", bytes(4 * PLACES))
        self._squares = array("f", bytes(4 * PLACES))

    def logit(self, inputs: Inputs) -> float:
        return sum(self.parts(inputs).values())

    def parts(self, inputs: Inputs) -> dict[str, float]:
        """What each name adds to the logit; `text` is all words together."""
        weights = self._weights
        parts = {
            name: value * self._named[name][0]
            for name, value in inputs.named.items()
            if name in self._named
        }
        system, tenant = inputs.asker
        parts["system_prompt"], parts["tenant"] = weights[system], weights[tenant]
        parts["text"] = _scale(inputs) * sum([weights[place] for place in inputs.places])
        return parts

    def part_of(self, place: int, inputs: Inputs) -> float:
        """What one run of words adds to the logit."""
        return _scale(inputs) * self._weights[place]

    def learn(self, inputs: Inputs, target: float) -> None:
        """One step towards `target` (0..1) on the log loss."""
        slope = logistic(self.logit(inputs)) - max(target, EASY_ENOUGH)
        for name, value in inputs.named.items():
            weight = self._named.setdefault(name, [0.0, 0.0])
            step = slope * value
            weight[1] += step * step
            weight[0] -= RATE * step / math.sqrt(weight[1] + _FLOOR)
        self._step(inputs.asker, slope)
        self._step(inputs.places, slope * _scale(inputs))

    def _step(self, places: tuple[int, ...], step: float) -> None:
        weights, squares, square = self._weights, self._squares, step * step
        for place in places:
            squares[place] += square
            weights[place] -= RATE * step / math.sqrt(squares[place] + _FLOOR)

    def to_state(self) -> dict[str, Any]:
        """As JSON: the weights that have moved, those of places as packed little-endian numbers."""
        moved = array("I", [p for p, square in enumerate(self._squares) if square])
        return {
            "named": {name: list(pair) for name, pair in self._named.items()},
            "places": _packed(moved),
            "weights": _packed(array("f", [self._weights[p] for p in moved])),
            "squares": _packed(array("f", [self._squares[p] for p in moved])),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> OnlineModel:
        """Raises KeyError, TypeError, ValueError or IndexError when it is not such a state."""
        model = cls()
        model._named = {name: [float(w), float(s)] for name, (w, s) in state["named"].items()}
        rows = zip(
            _unpacked("I", state["places"]),
            _unpacked("f", state["weights"]),
            _unpacked("f", state["squares"]),
            strict=True,
        )
        for place, weight, square in rows:
            model._weights[place], model._squares[place] = weight, square
        return model


def logistic(logit: float) -> float:
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1 + grown)


def _scale(inputs: Inputs) -> float:
    return 1 / math.sqrt(len(inputs.places)) if inputs.places else 0.0


def _place(text: str) -> int:
    place: int = crc32(text.encode("utf-8", "replace")) % PLACES
    return place


def _packed(numbers: array[Any]) -> str:
    return b64encode(_little_endian(numbers).tobytes()).decode("ascii")


def _unpacked(code: str, text: str) -> array[Any]:
    numbers = array(code)
    numbers.frombytes(b64decode(text, validate=True))
    return _little_endian(numbers)


def _little_endian(numbers: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
