"""The sequential test of the canary share keeps its error rates."""

from __future__ import annotations

import random

import pytest

from app.retrain.rollout import (
    CanaryCounts,
    CanarySettings,
    Step,
    canary_step,
    explain_step,
    log_evidence,
)

FAST = CanarySettings(share=0.5, worst_ratio=2.0, alpha=0.05, beta=0.05, min_requests=20)


def serve(settings: CanarySettings, canary: float, incumbent: float, seed: int) -> tuple[Step, int]:
    """Requests one by one until it is decided; the failure rates double halfway through the day."""
    rng = random.Random(seed)
    counts = [0, 0, 0, 0]
    for request in range(100_000):
        to_canary = rng.random() < settings.share
        rate = (canary if to_canary else incumbent) * (2 if request % 400 > 200 else 1)
        counts[0 if to_canary else 2] += 1
        counts[1 if to_canary else 3] += rng.random() < rate
        now = CanaryCounts(
            canary_requests=counts[0],
            canary_failures=counts[1],
            incumbent_requests=counts[2],
            incumbent_failures=counts[3],
        )
        if (step := canary_step(now, settings)) != "go_on":
            return step, counts[0]
    raise AssertionError("it never ends")


@pytest.mark.parametrize("settings", [FAST, CanarySettings(share=0.2, worst_ratio=2.0, alpha=0.05)])
def test_a_canary_that_is_no_worse_is_seldom_rolled_back(settings: CanarySettings) -> None:
    """At most 5 % of 300, give or take; fewer, because Ville's inequality is not tight."""
    steps = [serve(settings, 0.1, 0.1, seed)[0] for seed in range(300)]

    assert steps.count("roll_back") <= 22


def test_a_canary_that_fails_twice_as_often_is_seldom_promoted() -> None:
    steps = [serve(FAST, 0.2, 0.1, seed)[0] for seed in range(300)]

    assert steps.count("promote") <= 22


def test_a_broken_canary_is_rolled_back_at_once() -> None:
    ends = [serve(FAST, 0.5, 0.01, seed) for seed in range(50)]

    assert {step for step, _ in ends} == {"roll_back"}
    assert max(requests for _, requests in ends) < 60


def test_a_better_canary_is_promoted() -> None:
    assert {serve(FAST, 0.02, 0.1, seed)[0] for seed in range(50)} == {"promote"}


def test_the_evidence_is_the_likelihood_ratio_of_the_failures() -> None:
    """Half the traffic, twice as bad: a failure is the canary's with ½ or ⅔."""
    counts = CanaryCounts(canary_failures=3, incumbent_failures=1)

    expected = (4 / 3) ** 3 * (2 / 3)
    assert 2.718281828 ** log_evidence(counts, FAST) == pytest.approx(expected)


def test_rolling_back_waits_for_nothing_and_promoting_for_enough_requests() -> None:
    bad = CanaryCounts(canary_requests=11, canary_failures=11)
    lucky = CanaryCounts(canary_requests=19, incumbent_requests=50, incumbent_failures=30)

    assert canary_step(bad, FAST) == "roll_back"
    assert canary_step(lucky, FAST) == "go_on"


@pytest.mark.parametrize(("failures", "step"), [(0, "promote"), (5, "promote"), (9, "roll_back")])
def test_an_undecided_canary_goes_the_way_its_failures_lean(failures: int, step: Step) -> None:
    counts = CanaryCounts(
        canary_requests=2_000,
        canary_failures=failures,
        incumbent_requests=2_000,
        incumbent_failures=failures and 6,
    )
    hard = CanarySettings(share=0.5, alpha=1e-9, beta=1e-9)

    assert canary_step(counts, hard) == step
    assert canary_step(CanaryCounts(), hard) == "go_on"


@pytest.mark.parametrize(
    "change", [{"share": 0.0}, {"share": 1.0}, {"worst_ratio": 1.0}, {"alpha": 0.0}, {"beta": 1.0}]
)
def test_settings_that_test_nothing_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        CanarySettings(**change)  # type: ignore[arg-type]


def test_the_step_is_explained() -> None:
    counts = CanaryCounts(
        canary_requests=40, canary_failures=20, incumbent_requests=50, incumbent_failures=2
    )

    assert explain_step(counts, FAST) == (
        "roll_back: the canary failed 20 of 40 (50.0%), the incumbent 2 of 50 (4.0%); the failures "
        "are 140 times as likely if the canary fails 2 times as often"
    )
