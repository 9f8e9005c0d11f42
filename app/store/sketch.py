"""How alike two prompts are, from small sketches of them.

A prompt is its words, numbers and signs in order. Two prompts are near-duplicates when they are
the same bag of these ("3 + 5" and "5 + 3"), or share four fifths of their runs of three words.
Numbers count like words: a short question with another number in it is another question, a long one
with one number changed is not. Runs are kept as a bottom-k sketch, exact up to `RUNS` of them;
MinHash bands find which sketches are worth comparing. Every hash is the same in every process.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

RUN = 3
RUNS = 128
"""Runs kept; of a longer prompt those with the smallest hashes, an even sample."""
NEAR = 0.8
"""Jaccard at or above which two prompts are near-duplicates."""
BANDS, ROWS = 8, 4
"""Prompts as alike as `NEAR` share a band with probability .985, half as alike ones with .4."""

_TOKEN = re.compile(
    # Scripts without spaces are read character by character.
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\d+(?:[.,]\d+)*|\w+|[^\w\s]"
)
_MARKS = frozenset(".,;:!?¿¡…'\"`’‘“”")
"""Signs of a sentence say nothing; those of a formula do."""
_PRIME = 2**61 - 1
_LAWS = tuple(
    (rng.randrange(1, _PRIME), rng.randrange(_PRIME))
    for rng in [random.Random("verivote minhash 1")]
    for _ in range(BANDS * ROWS)
)


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of a prompt to compare it with others. All integers are signed."""

    bag: int
    """64 bits: equal for equal bags of words."""
    runs: tuple[int, ...]
    """32 bits each, rising: at most `RUNS`."""
    bands: tuple[int, ...]
    """64 bits each: near-duplicates share one, nearly always."""


def sketch_of(prompt: str) -> Sketch:
    """The sketch of a prompt as `normal_prompt` writes it. A millisecond or two."""
    tokens = [token for token in _TOKEN.findall(prompt) if token not in _MARKS] or [prompt]
    ends = range(RUN, max(RUN, len(tokens)) + 1)
    runs = {_hash(" ".join(tokens[end - RUN : end]), 4) for end in ends}
    kept = tuple(sorted(runs)[:RUNS])
    return Sketch(bag=_hash("\0".join(sorted(tokens)), 8), runs=kept, bands=_bands(kept))


def likeness(a: Sequence[int], b: Sequence[int]) -> float:
    """Jaccard of the runs of two sketches, 0..1; an estimate (±.03) where either is full."""
    in_a, in_b = frozenset(a), frozenset(b)
    union = sorted(in_a | in_b)
    if len(a) >= RUNS or len(b) >= RUNS:
        union = union[:RUNS]
    return sum(run in in_a and run in in_b for run in union) / len(union)


def _bands(runs: Sequence[int]) -> tuple[int, ...]:
    least = [min((a * run + b) % _PRIME for run in runs) for a, b in _LAWS]
    return tuple(
        _hash(f"{band}/{least[band * ROWS : (band + 1) * ROWS]}", 8) for band in range(BANDS)
    )


def _hash(text: str, size: int) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
    return int.from_bytes(digest, "big", signed=True)
