"""Training rows → examples: what the trainer keeps of a logged sample, checked once.

Rows are those of `app/store/training_rows.py`, one JSON object a line. Ids and µ are held in
compact arrays: ten million tokens take 80 MB. Which rows may be here at all is the selection's
choice; this module only refuses what cannot be trained on.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import ConfigError

Tokenise = Callable[[Mapping[str, Any]], tuple[list[int], list[int]]]
"""Ids of prompt and completion of a row that carries only texts."""
Place = Callable[[Sequence[int], str, Sequence[int]], list[int] | None]
"""Of a completion's ids, its text and places in the text (characters): how many tokens reach each
place. None where ids and text do not fit together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One sample of a group."""

    group: str
    """Trace id."""
    sample: int
    policy: str
    """Version of the model that drew it."""
    prompt_ids: array[int]
    completion_ids: array[int]
    """At least one."""
    mu: array[float] | None
    """log µ of each completion token at `temperature`; None where it is not known exactly, as in
    rows of another model or of a cut distribution."""
    temperature: float
    reward: float
    """0..1."""
    group_weight: float = 1.0
    """q_g: weight of its group, mean 1 over the run; the same in all rows of a group."""
    step_scores: tuple[float, ...] = ()
    """Score of each step of the text, from its process verifiers."""
    step_ends: tuple[int, ...] = ()
    """Number of completion tokens up to the end of each step, rising; empty when it is not known
    where the steps are."""

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingGroup:
    """Samples of one prompt, in drawing order."""

    id: str
    examples: tuple[Example, ...]

    @property
    def rewards(self) -> tuple[float, ...]:
        return tuple(example.reward for example in self.examples)

    @property
    def weight(self) -> float:
        return self.examples[0].group_weight


@dataclass(slots=True)
class _Reader:
    tokenise: Tokenise | None
    place: Place | None
    groups: dict[str, list[Example]] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any], at: str) -> None:
        example = _example(row, at, self.tokenise, self.place)
        samples = self.groups.setdefault(example.group, [])
        if samples:
            first = samples[0]
            if first.prompt_ids != example.prompt_ids:
                raise ConfigError(
                    f"{at}: 'prompt_token_ids' differ from the group's first row ({example.group})"
                )
            if first.group_weight != example.group_weight:
                raise ConfigError(
                    f"{at}: 'group_weight' differs from the group's first row ({example.group})"
                )
            if any(known.sample == example.sample for known in samples):
                raise ConfigError(f"{at}: sample {example.sample} of {example.group} comes twice")
        samples.append(example)


def read_groups(
    rows: Iterable[Mapping[str, Any]],
    *,
    tokenise: Tokenise | None = None,
    place: Place | None = None,
) -> tuple[TrainingGroup, ...]:
    """Groups in the order of their first rows. Raises `ConfigError` that names row and field."""
    reader = _Reader(tokenise, place)
    for number, row in enumerate(rows, start=1):
        reader.add(row, f"row {number}")
    return _groups(reader)


def read_file(
    path: Path, *, tokenise: Tokenise | None = None, place: Place | None = None
) -> tuple[TrainingGroup, ...]:
    """The groups of a JSON Lines file. Raises `ConfigError` that names line and field."""
    reader = _Reader(tokenise, place)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    reader.add(_object(line, number, path), f"{path.name} line {number}")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigError(f"{path} cannot be read: {unreadable}") from None
    return _groups(reader)


def _object(line: str, number: int, path: Path) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as broken:
        raise ConfigError(f"{path.name} line {number} is not JSON: {broken}") from None
    if not isinstance(row, Mapping):
        raise ConfigError(f"{path.name} line {number} is not a JSON object")
    return row


def _groups(reader: _Reader) -> tuple[TrainingGroup, ...]:
    return tuple(
        TrainingGroup(id=name, examples=tuple(sorted(samples, key=lambda e: e.sample)))
        for name, samples in reader.groups.items()
    )


def _example(
    row: Mapping[str, Any], at: str, tokenise: Tokenise | None, place: Place | None
) -> Example:
    prompt, completion = row.get("prompt_token_ids"), row.get("token_ids")
    mu = row.get("logprobs") if row.get("trainable") else None
    if not prompt or not completion:
        if tokenise is None:
            missing = "token_ids" if prompt else "prompt_token_ids"
            raise ConfigError(f"{at}: '{missing}' is missing and no tokenizer was given")
        prompt, completion = tokenise(row)
        mu = None
    completion_ids = _ids(completion, at, "token_ids")
    scores, ends = _steps(row, at, completion_ids, place)
    return Example(
        group=_text(row, "trace_id", at),
        sample=_whole(row.get("sample"), at, "sample"),
        policy=str(row.get("policy") or ""),
        prompt_ids=_ids(prompt, at, "prompt_token_ids"),
        completion_ids=completion_ids,
        mu=None if mu is None else _logprobs(mu, at, len(completion_ids)),
        temperature=_temperature(row, at),
        reward=_reward(row, at),
        group_weight=_weight(row, at),
        step_scores=scores,
        step_ends=ends,
    )


def _text(row: Mapping[str, Any], key: str, at: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{at}: '{key}' must be a text, not {value!r}")
    return value


def _whole(value: Any, at: str, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{at}: '{key}' must be a whole number from 0, not {value!r}")
    return value


def _ids(values: Any, at: str, key: str) -> array[int]:
    try:
        ids = array("i", values)
    except (TypeError, OverflowError):
        raise ConfigError(f"{at}: '{key}' must be a list of token ids") from None
    if not ids or min(ids) < 0:
        raise ConfigError(f"{at}: '{key}' must be a list of token ids from 0, at least one")
    return ids


def _logprobs(values: Any, at: str, length: int) -> array[float]:
    try:
        mu = array("f", values)
    except TypeError:
        raise ConfigError(f"{at}: 'logprobs' must be a list of numbers") from None
    if len(mu) != length:
        raise ConfigError(f"{at}: {len(mu)} 'logprobs' for {length} 'token_ids'")
    # Half of a bf16 step above zero is rounding; more is not a log probability.
    if not all(math.isfinite(value) and value <= 0.01 for value in mu):
        raise ConfigError(f"{at}: 'logprobs' must be finite and at most 0")
    return mu


def _temperature(row: Mapping[str, Any], at: str) -> float:
    """Without µ a row is only ever imitated, which is done at temperature 1."""
    if not row.get("trainable"):
        return 1.0
    value = row.get("temperature")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        raise ConfigError(f"{at}: 'temperature' must be a number above 0, not {value!r}")
    return float(value)


def _reward(row: Mapping[str, Any], at: str) -> float:
    value = row.get("reward")
    if value is None:
        raise ConfigError(f"{at}: 'reward' is null: what could not be checked does not train")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{at}: 'reward' must be a number from 0 to 1, not {value!r}")
    return float(value)


def _weight(row: Mapping[str, Any], at: str) -> float:
    value = row.get("group_weight", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"{at}: 'group_weight' must be a number from 0, not {value!r}")
    return float(value)


def _steps(
    row: Mapping[str, Any], at: str, ids: array[int], place: Place | None
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Scores of all process verifiers in one list, with places only where every one has them."""
    by_verifier = row.get("step_rewards") or {}
    ends_by_verifier = row.get("step_ends") or {}
    if not isinstance(by_verifier, Mapping) or not isinstance(ends_by_verifier, Mapping):
        raise ConfigError(f"{at}: 'step_rewards' and 'step_ends' are objects of lists by verifier")
    placed: list[tuple[int, float]] = []
    scores: list[float] = []
    text = str(row.get("text") or "")
    for name, values in by_verifier.items():
        if not _are_scores(values):
            raise ConfigError(f"{at}: 'step_rewards.{name}' must be a list of numbers from 0 to 1")
        scores.extend(float(value) for value in values)
        ends = ends_by_verifier.get(name)
        if ends is None:
            continue
        if len(ends) != len(values) or not _inside(ends, len(text)):
            raise ConfigError(
                f"{at}: 'step_ends.{name}' must be places in 'text', one for each step"
            )
        placed.extend(zip(ends, (float(value) for value in values), strict=True))
    placed.sort()
    tokens = None
    if place is not None and placed and len(placed) == len(scores):
        tokens = place(ids, text, [end for end, _ in placed])
    if tokens is None:
        return tuple(scores), ()
    return tuple(score for _, score in placed), tuple(tokens)


def _are_scores(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and 0 <= value <= 1 for value in values
    )


def _inside(ends: Iterable[Any], length: int) -> bool:
    return all(isinstance(end, int) and 1 <= end <= length for end in ends)
