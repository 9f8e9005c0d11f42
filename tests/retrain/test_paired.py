"""Differences between two policies on the same prompts, checked by hand and by simulation."""

from __future__ import annotations

import random
import statistics

import pytest

from app.retrain.paired import Change, McNemar, differ, prompts_needed, smallest_found


def changes(deltas: list[float], clusters: list[str] | None = None) -> list[Change]:
    names = clusters or [str(i) for i in range(len(deltas))]
    return [Change(name, delta) for name, delta in zip(names, deltas, strict=True)]


@pytest.mark.parametrize(
    ("won", "lost", "better", "differs"),
    [
        (0, 0, 1.0, 1.0),
        (1, 0, 0.5, 1.0),
        (5, 0, 1 / 32, 1 / 16),
        (0, 5, 1.0, 1 / 16),
        # 1 + 8 + 28 of 256, and 1 + 10 + 45 of 1024.
        (6, 2, 37 / 256, 74 / 256),
        (8, 2, 56 / 1024, 112 / 1024),
        (5, 5, 638 / 1024, 1.0),
        (194, 0, 2.0**-194, 2.0**-193),
    ],
)
def test_mcnemar_is_exact(won: int, lost: int, better: float, differs: float) -> None:
    test = McNemar(won, lost)

    assert (test.p_better, test.p_differs) == (better, differs)


def test_mcnemar_of_many_prompts_is_still_a_number() -> None:
    """The binomial sums have thousands of digits by then."""
    assert McNemar(2_600, 2_400).p_better == pytest.approx(0.00245, abs=1e-4)


def test_the_mean_is_over_prompts_and_the_luck_over_clusters() -> None:
    one_story = differ(changes([1.0] * 10 + [0.0] * 10, ["same"] * 10 + list("abcdefghij")), seed=1)
    apart = differ(changes([1.0] * 10 + [0.0] * 10), seed=1)

    assert one_story.delta == apart.delta == 0.5
    assert (one_story.clusters, apart.clusters) == (11, 20)
    assert one_story.bound(0.05) == 0.0 < apart.bound(0.05)


def test_no_change_is_no_evidence() -> None:
    nothing = differ(changes([0.0] * 300), seed=1, resamples=1_000)

    assert nothing.p_better == 1.0
    assert nothing.interval() == (0.0, 0.0)


def test_a_change_of_every_prompt_is_as_sure_as_resamples_can_say() -> None:
    assert differ(changes([0.1] * 50), seed=1, resamples=999).p_better == 0.001


def test_the_same_seed_gives_the_same_resamples() -> None:
    deltas = changes([random.Random(i).gauss(0, 1) for i in range(50)])
    drawn = [differ(deltas, seed=seed, resamples=200).resampled for seed in (1, 1, 2)]

    assert drawn[0] == drawn[1] != drawn[2]


def test_bounds_agree_with_the_normal_law_where_it_holds() -> None:
    rng = random.Random(5)
    deltas = [rng.gauss(0.02, 0.3) for _ in range(800)]
    found = differ(changes(deltas), seed=1)
    error = statistics.stdev(deltas) / 800**0.5

    assert found.bound(0.05) == pytest.approx(found.delta - 1.645 * error, abs=0.001)
    assert found.bound(0.01) == pytest.approx(found.delta - 2.326 * error, abs=0.002)


def test_intervals_hold_what_they_promise() -> None:
    """300 made-up gates of 200 clusters: pass rates of 8 samples, some prompts in pairs."""
    rng = random.Random(11)
    inside = below = 0
    for night in range(300):
        deltas, names = [], []
        for cluster in range(200):
            shared = rng.gauss(0.03, 0.15)
            for _ in range(1 + (cluster % 5 == 0)):
                deltas.append(round(8 * (shared + rng.gauss(0, 0.1))) / 8)
                names.append(str(cluster))
        found = differ(changes(deltas, names), seed=night, resamples=400)
        low, high = found.interval()
        inside += low <= 0.03 <= high
        below += found.bound(0.05) <= 0.03

    # 95 % of 300, give or take three standard errors.
    assert 0.912 < inside / 300 < 0.988
    assert 0.912 < below / 300 < 0.988


def test_a_useless_candidate_is_seldom_found_better() -> None:
    """One-sided p below .01 in at most about one night in a hundred."""
    rng = random.Random(3)
    wins = sum(
        differ(
            changes([rng.choice((-0.25, -0.125, 0, 0, 0.125, 0.25)) for _ in range(200)]),
            seed=night,
            resamples=500,
        ).p_better
        < 0.01
        for night in range(400)
    )

    assert wins <= 10


def test_how_many_prompts_a_difference_needs() -> None:
    two_sided = {"alpha": 0.025, "power": 0.8}

    # The usual rule of thumb 7.85 · d / δ².
    assert prompts_needed(0.03, 0.15, **two_sided) == pytest.approx(1_300, rel=0.01)
    assert prompts_needed(0.05, 0.15, **two_sided) == pytest.approx(470, rel=0.01)
    assert prompts_needed(0.05, 0.15) > prompts_needed(0.05, 0.15, **two_sided)


def test_a_gate_knows_what_it_could_find() -> None:
    found = smallest_found(470, 0.15, alpha=0.025)

    assert found == pytest.approx(0.05, abs=0.001)
    assert smallest_found(5, 0.1) is None


@pytest.mark.parametrize(("delta", "discordant"), [(0.0, 0.1), (0.2, 0.1), (0.1, 1.5)])
def test_a_difference_larger_than_what_differs_is_no_question(
    delta: float, discordant: float
) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        prompts_needed(delta, discordant)
