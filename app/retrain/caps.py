"""Nobody writes the night: limits on what one prompt and one tenant may supply."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from app.retrain.sieve import Candidate


def cap_prompts(
    candidates: Sequence[Candidate], *, most: int, parent: str
) -> tuple[list[Candidate], list[Candidate]]:
    """At most so many groups of each prompt: the parent's first, then the newest. Kept, dropped."""
    by_prompt: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_prompt[candidate.prompt_hash].append(candidate)
    kept, dropped = [], []
    for same in by_prompt.values():
        same.sort(key=lambda c: (c.policy == parent, c.received_at, c.trace_id), reverse=True)
        kept += same[:most]
        dropped += same[most:]
    return kept, dropped


def cap_tenants(
    candidates: Sequence[Candidate], *, share: float, trusted: Collection[str], seed: int
) -> tuple[list[Candidate], list[Candidate]]:
    """No tenant but trusted ones supplies more than this share of the tokens that stay.

    Which of its groups stay is drawn by seed, so that flooding does not also choose. Kept, dropped.
    """
    tokens: defaultdict[str, int] = defaultdict(int)
    for candidate in candidates:
        tokens[candidate.tenant] += candidate.tokens
    limit = largest_share(tokens, share=share, trusted=trusted)
    used: defaultdict[str, int] = defaultdict(int)
    kept, dropped = [], []
    for candidate in sorted(candidates, key=lambda c: _draw(seed, c.trace_id)):
        within = used[candidate.tenant] + candidate.tokens <= limit
        if candidate.tenant in trusted or within:
            used[candidate.tenant] += candidate.tokens
            kept.append(candidate)
        else:
            dropped.append(candidate)
    return kept, dropped


def largest_share(tokens: Mapping[str, int], *, share: float, trusted: Collection[str]) -> float:
    """Largest limit L with L ≤ share × Σ min(tokens, L): tokens that one tenant may supply.

    The limit is a share of what *stays*; a share of what came in would grow with the flood. It is
    0 when fewer than 1/share tenants could fill the night and nobody is trusted.
    """
    free = sum(count for tenant, count in tokens.items() if tenant in trusted)
    others = sorted((c for tenant, c in tokens.items() if tenant not in trusted), reverse=True)
    rest = free + sum(others)
    for capped, largest in enumerate(others):
        # With the `capped` largest at the limit: L = share × (capped × L + rest).
        room = 1 - share * capped
        if room <= 0:
            return 0.0
        limit = share * rest / room
        if largest <= limit:
            return limit
        rest -= largest
    room = 1 - share * len(others)
    return share * rest / room if room > 0 else 0.0


def cap_groups(
    candidates: Sequence[Candidate], *, most: int, parent: str, seed: int
) -> tuple[list[Candidate], list[Candidate]]:
    """As many as fit into the night: the parent's first, each kind drawn by seed. Kept, dropped.

    An older policy's groups only have samples to push up, and of things that the parent may have
    learned already.
    """
    drawn = sorted(candidates, key=lambda c: (c.policy != parent, _draw(seed, c.trace_id)))
    return drawn[:most], drawn[most:]


def _draw(seed: int, trace_id: str) -> bytes:
    return hashlib.sha256(f"{seed}/{trace_id}".encode()).digest()
