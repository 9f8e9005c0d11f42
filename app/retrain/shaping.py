"""How the samples of a group are compared: rewards shaped by length, then centred, then steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from app.errors import ConfigError
from app.retrain.advantages import (
    centred,
    is_mixed,
    linear_length,
    soft_overlong,
    standardised,
    with_steps,
)
from app.retrain.examples import TrainingGroup
from app.retrain.plan import Pick

Comparison = Literal["centred", "standardised"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """What is done to rewards before samples are compared. Nothing, by default."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    length: Literal["none", "soft_overlong", "linear"] = "none"
    max_tokens: int | None = None
    """`soft_overlong`: completion tokens at which an answer is fully too long."""
    buffer_tokens: int | None = None
    """`soft_overlong`: over how many tokens before that the punishment grows."""
    process_weight: float = 0.0
    """What a step's score weighs beside the outcome's; 0 ignores steps."""

    def __post_init__(self) -> None:
        if self.length != "soft_overlong":
            return
        for key in ("max_tokens", "buffer_tokens"):
            if (getattr(self, key) or 0) < 1:
                raise ConfigError(f"shaping.{key} must be at least 1 with length 'soft_overlong'")
        if (self.buffer_tokens or 0) > (self.max_tokens or 0):
            raise ConfigError("shaping.buffer_tokens must be at most shaping.max_tokens")


def compare(group: TrainingGroup, shaping: Shaping, comparison: Comparison) -> tuple[Pick, ...]:
    """Every sample with its advantage; none where the samples do not differ in what they earned.

    Whether they differ is asked before shaping: a group that is all right or all wrong would
    otherwise be trained on length alone.
    """
    if not is_mixed(group.rewards):
        return ()
    lengths = [len(example.completion_ids) for example in group.examples]
    rewards = _shaped(group.rewards, lengths, shaping)
    outcomes = centred(rewards) if comparison == "centred" else standardised(rewards)
    if shaping.process_weight == 0 or not any(e.step_scores for e in group.examples):
        paired = zip(group.examples, outcomes, strict=True)
        return tuple(Pick(example=example, advantage=a) for example, a in paired)
    tokens = with_steps(
        outcomes,
        lengths,
        [example.step_scores for example in group.examples],
        [example.step_ends for example in group.examples],
        weight=shaping.process_weight,
    )
    return tuple(
        Pick(example=example, advantage=a)
        for example, a in zip(group.examples, tokens, strict=True)
    )


def _shaped(rewards: tuple[float, ...], lengths: list[int], shaping: Shaping) -> tuple[float, ...]:
    if shaping.length == "linear":
        return linear_length(rewards, lengths)
    if shaping.length == "soft_overlong":
        assert shaping.max_tokens is not None
        assert shaping.buffer_tokens is not None
        return soft_overlong(
            rewards, lengths, max_tokens=shaping.max_tokens, buffer_tokens=shaping.buffer_tokens
        )
    return rewards
