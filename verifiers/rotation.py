"""Rotation: which verifiers of a pool look at a request.

A pool holds verifiers for one kind of task. The choice is seeded by the request's id, so that it
cannot be guessed before and can be repeated afterwards; the plan names what was chosen.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from verifiers.base import AnswerKind, VerifierSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Verifiers of which some are asked."""

    name: str
    kind: AnswerKind | None
    """The answer kind of the tasks that it is for; None is for every task."""
    members: tuple[VerifierSpec, ...]
    take: int = 1
    """How many are asked."""


def seed_of_pool(pool: Pool, request_id: str) -> int:
    """The seed of one choice: another for every pool of the same request."""
    digest = hashlib.sha256(f"{request_id}\0{pool.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def choose(pools: Sequence[Pool], kind: AnswerKind, request_id: str) -> tuple[VerifierSpec, ...]:
    """The verifiers that this request gets from all pools of its kind."""
    chosen: list[VerifierSpec] = []
    for pool in pools:
        if pool.kind in (None, kind):
            rng = random.Random(seed_of_pool(pool, request_id))
            chosen.extend(rng.sample(pool.members, min(pool.take, len(pool.members))))
    return tuple(chosen)
