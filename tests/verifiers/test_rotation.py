from __future__ import annotations

from collections import Counter

from verifiers.base import VerifierSpec
from verifiers.rotation import Pool, choose

SPECS = tuple(VerifierSpec(use=use) for use in ("number", "steps", "judge"))


def pool(**changes):
    return Pool(**{"name": "p", "kind": "number", "members": SPECS, **changes})


def test_a_request_gets_the_same_choice_whenever_it_is_repeated():
    pools = [pool(take=2)]

    assert choose(pools, "number", "r1") == choose(pools, "number", "r1")


def test_requests_share_the_pool_evenly():
    seen = Counter(choose([pool()], "number", f"r{i}")[0].use for i in range(900))

    assert len(seen) == 3
    assert all(240 < count < 360 for count in seen.values())


def test_pools_of_one_request_choose_apart():
    pools = [pool(name="a"), pool(name="b")]
    pairs = {tuple(s.use for s in choose(pools, "number", f"r{i}")) for i in range(100)}

    assert len(pairs) == 9


def test_a_pool_is_for_its_kind_of_task_only():
    pools = [pool(), pool(kind=None, name="all", take=9)]

    assert len(choose(pools, "json", "r")) == 3
    assert len(choose(pools, "number", "r")) == 4
    assert len({spec.use for spec in choose(pools, "json", "r")}) == 3
