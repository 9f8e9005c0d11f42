"""What one prompt and one tenant may supply."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.retrain.caps import cap_groups, cap_prompts, cap_tenants, largest_share
from app.retrain.sieve import Candidate


def candidate(number: int, **changes: object) -> Candidate:
    fields: dict[str, object] = {
        "trace_id": f"t{number:05}",
        "tenant": "a",
        "policy": "policy-3",
        "prompt_hash": f"p{number}",
        "received_at": float(number),
        "samples": (0, 1, 2, 3),
        "compared_only": (),
        "pass_rate": 0.5,
        "tokens": 100,
    }
    return Candidate(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_flooded_prompt_counts_twice_the_parents_groups_first() -> None:
    flood = [candidate(i, prompt_hash="same", policy="policy-2") for i in range(50)]
    fresh = candidate(3, trace_id="fresh", prompt_hash="same")
    kept, dropped = cap_prompts([*flood, fresh, candidate(99)], most=2, parent="policy-3")

    assert [c.trace_id for c in kept] == ["fresh", "t00049", "t00099"]
    assert len(dropped) == 49


def test_a_flood_does_not_raise_its_own_limit() -> None:
    """A limit of 2 % of what came in would let a flood of 98 % be half of what stays."""
    flood = [candidate(i, tenant="flood") for i in range(4_900)]
    others = [candidate(5_000 + i, tenant=f"t{i % 100}") for i in range(1_000)]
    kept, _ = cap_tenants([*flood, *others], share=0.02, trusted=(), seed=0)
    tokens = Counter(c.tenant for c in kept)

    assert tokens["flood"] <= 0.02 * tokens.total()
    assert tokens.total() >= 1_000


def test_the_groups_of_a_capped_tenant_are_drawn_by_seed() -> None:
    night = [candidate(i, tenant=f"t{i % 60}" if i % 2 else "big") for i in range(600)]
    kept = [
        tuple(c.trace_id for c in cap_tenants(given, share=0.05, trusted=(), seed=seed)[0])
        for seed, given in ((1, night), (1, night[::-1]), (2, night))
    ]

    assert kept[0] == kept[1]
    assert set(kept[0]) != set(kept[2])


def test_few_tenants_cannot_fill_a_night_unless_they_are_trusted() -> None:
    night = [candidate(i, tenant=f"t{i % 3}") for i in range(300)]
    strict, _ = cap_tenants(night, share=0.02, trusted=(), seed=0)
    trusting, _ = cap_tenants(night, share=0.02, trusted=("t0", "t1"), seed=0)

    assert strict == []
    assert Counter(c.tenant for c in trusting) == {"t0": 100, "t1": 100, "t2": 4}


@given(
    st.dictionaries(st.text(max_size=2), st.integers(1, 10_000), max_size=20),
    st.sampled_from([0.02, 0.1, 0.3, 1.0]),
    st.integers(0, 3),
)
def test_the_limit_is_the_largest_that_holds(
    tokens: dict[str, int], share: float, trusted: int
) -> None:
    free = set(list(tokens)[:trusted])
    limit = largest_share(tokens, share=share, trusted=free)

    def stays(at: float) -> float:
        return sum(c if t in free else min(c, at) for t, c in tokens.items())

    assert limit <= share * stays(limit) + 1e-6
    assert limit * 1.01 + 1e-3 > share * stays(limit * 1.01 + 1e-3) - 1e-6


@pytest.mark.parametrize("share", [0.02, 1.0])
def test_without_tenants_there_is_no_limit_to_find(share: float) -> None:
    assert largest_share({}, share=share, trusted=()) == 0.0


def test_a_full_night_takes_what_its_parent_drew_before_older_groups() -> None:
    older = [candidate(i, policy="policy-2") for i in range(30)]
    fresh = [candidate(30 + i) for i in range(30)]

    def night(most: int, seed: int) -> list[str]:
        kept, dropped = cap_groups([*older, *fresh], most=most, parent="policy-3", seed=seed)
        assert len(kept) + len(dropped) == 60
        return [c.policy for c in kept]

    assert set(night(20, seed=1)) == {"policy-3"}
    assert Counter(night(40, seed=1)) == {"policy-3": 30, "policy-2": 10}


def test_which_groups_fit_is_drawn_by_seed_whatever_their_order() -> None:
    night = [candidate(i) for i in range(60)]
    kept = [
        [c.trace_id for c in cap_groups(given, most=20, parent="policy-3", seed=seed)[0]]
        for seed, given in ((1, night), (1, night[::-1]), (2, night))
    ]

    assert kept[0] == kept[1]
    assert set(kept[0]) != set(kept[2])
