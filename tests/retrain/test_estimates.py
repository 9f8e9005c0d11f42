from __future__ import annotations

import random
import statistics

import pytest

from app.retrain.estimates import estimate, estimate_all
from tests.retrain.held_out import outcome


def outcomes(accuracy: float = 0.6, prompts: int = 200, seed: int = 0, **fields):
    rng = random.Random(seed)
    return [outcome(number, rng, accuracy, **fields) for number in range(prompts)]


def test_a_policy_has_the_mean_of_its_prompts_with_an_interval_around_it():
    of_policy = outcomes()

    found = {each.metric: each for each in estimate_all(of_policy, seed=1, resamples=2_000)}

    assert list(found) == ["pass_at_1", "vote", "verified", "greedy", "tokens"]
    mean = statistics.fmean(o.pass_at_1 for o in of_policy)
    assert found["pass_at_1"].mean == pytest.approx(mean)
    assert found["pass_at_1"].low < mean < found["pass_at_1"].high
    # One greedy answer a prompt says less of the policy than eight samples do.
    width = {name: each.high - each.low for name, each in found.items()}
    assert width["greedy"] > width["pass_at_1"]


def test_a_metric_that_no_prompt_has_is_left_out():
    of_policy = outcomes(prompts=5, voted=None, greedy=None)

    assert estimate(of_policy, "greedy", seed=0) is None
    assert {each.metric for each in estimate_all(of_policy, seed=0)} == {
        "pass_at_1",
        "verified",
        "tokens",
    }


def test_near_duplicates_widen_the_interval():
    alone = estimate(outcomes(prompts=60), "greedy", seed=0, resamples=2_000)
    rng = random.Random(0)
    four_each = [outcome(n, rng, 0.6, cluster=f"c{n % 15}", greedy=n % 15 < 9) for n in range(60)]
    together = estimate(four_each, "greedy", seed=0, resamples=2_000)

    assert alone is not None
    assert together is not None
    assert (alone.clusters, together.clusters) == (60, 15)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth, inside = 0.6, 0
    for seed in range(150):
        rng = random.Random(seed)
        drawn = [outcome(n, rng, truth, greedy=rng.random() < truth) for n in range(60)]
        found = estimate(drawn, "greedy", seed=seed, resamples=300)
        assert found is not None
        inside += found.low <= truth <= found.high

    assert 0.88 <= inside / 150 <= 0.99
