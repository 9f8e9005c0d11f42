"""Rows → the one tensor form that every objective reads.

Axes: B rows, T positions of the longest of them. A row is its prompt, its completion and padding
on the right, so under causal attention no token ever sees a pad. Every (B, T) tensor speaks about
the token at its position: `mu[b, t]` is log µ of `ids[b, t]` given what stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from app.retrain.plan import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A micro-batch."""

    ids: Tensor
    """(B, T) int64. Pads are 0, which is a token like any other: only the masks tell."""
    lengths: Tensor
    """(B,) int64: tokens of prompt and completion."""
    completion: Tensor
    """(B, T) bool: the model wrote this token. The loss is about these and no others."""
    mu: Tensor
    """(B, T) float32: log µ at the row's temperature; 0 where it is not known."""
    mu_known: Tensor
    """(B, T) bool: a completion token with a known µ. A row has it for all its tokens or none."""
    advantages: Tensor
    """(B, T) float32: of the sample, repeated, or of each step; 0 outside the completion."""
    group: Tensor
    """(B,) int64: number of the row's group in the run."""
    weights: Tensor
    """(B,) float32: q_g, mean 1 over the run's groups."""
    temperature: Tensor
    """(B,) float32: what the logits are divided by."""
    first: int
    """Position of the first completion token of any row; logits before it are never needed."""

    @property
    def weighted(self) -> Tensor:
        """(B, T): q_g · A, what the log probabilities are multiplied by."""
        return self.advantages * self.weights[:, None]

    def to(self, device: Any) -> Batch:
        moved = {
            item.name: value.to(device)
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), Tensor)
        }
        return replace(self, **moved)


def make_batch(rows: Sequence[Row]) -> Batch:
    """The rows of a micro-batch, in order. At least one."""
    shape = (len(rows), max(row.example.length for row in rows))
    ids = torch.zeros(shape, dtype=torch.int64)
    completion = torch.zeros(shape, dtype=torch.bool)
    mu = torch.zeros(shape)
    mu_known = torch.zeros(shape, dtype=torch.bool)
    advantages = torch.zeros(shape)
    for at, row in enumerate(rows):
        example = row.example
        start, end = len(example.prompt_ids), example.length
        ids[at, :start] = _tensor(example.prompt_ids, torch.int32)
        ids[at, start:end] = _tensor(example.completion_ids, torch.int32)
        completion[at, start:end] = True
        if example.mu is not None:
            mu[at, start:end] = _tensor(example.mu, torch.float32)
            mu_known[at, start:end] = True
        advantages[at, start:end] = torch.as_tensor(row.advantage, dtype=torch.float32)
    return Batch(
        ids=ids,
        lengths=torch.tensor([row.example.length for row in rows]),
        completion=completion,
        mu=mu,
        mu_known=mu_known,
        advantages=advantages,
        group=torch.tensor([row.group for row in rows]),
        weights=torch.tensor([row.weight for row in rows]),
        temperature=torch.tensor([row.example.temperature for row in rows]),
        first=min(len(row.example.prompt_ids) for row in rows),
    )


def make_filling(like: Row) -> Batch:
    """A batch that takes part in a forward and in nothing else: no completion, one short row."""
    example = like.example
    ids = _tensor(example.prompt_ids[:1], torch.int32).to(torch.int64)[None].repeat(1, 2)
    nothing = torch.zeros(1, 2)
    return Batch(
        ids=ids,
        lengths=torch.tensor([2]),
        completion=nothing.bool(),
        mu=nothing,
        mu_known=nothing.bool(),
        advantages=nothing,
        group=torch.tensor([like.group]),
        weights=torch.tensor([0.0]),
        temperature=torch.tensor([1.0]),
        first=1,
    )


def _tensor(values: Any, dtype: Any) -> Tensor:
    # A copy: a tensor over the buffer of an array would follow what happens to it.
    return torch.frombuffer(bytearray(values.tobytes()), dtype=dtype)
