"""Whether the traffic of two windows is the same."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from app.group import CacheRecord
from app.retrain.drift import (
    Window,
    benjamini_hochberg,
    chi_square,
    chi_square_tail,
    describe_drift,
    find_drift,
    kolmogorov_smirnov,
    psi_of,
    window_of,
)
from tests.store.groups import failed_group, make_group


def numbers(seed: int, *, shift: float = 0.0, count: int = 400) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(shift, 1) for _ in range(count)]


def window(seed: int, *, shift: float = 0.0, math_share: float = 0.5) -> Window:
    asked = round(400 * math_share)
    return Window(
        numbers={"length": numbers(seed, shift=shift), "difficulty": numbers(seed + 1)},
        kinds={"task": {"math": asked, "text": 400 - asked}},
    )


@pytest.mark.parametrize(
    ("x", "freedom", "p"),
    [
        (3.841459, 1, 0.05),
        (5.991465, 2, 0.05),
        (7.814728, 3, 0.05),
        (18.307038, 10, 0.05),
        (24.995790, 15, 0.05),
        (6.634897, 1, 0.01),
        (0.0, 1, 1.0),
        (0.0, 4, 1.0),
    ],
)
def test_the_tail_of_chi_square_is_that_of_the_tables(x: float, freedom: int, p: float) -> None:
    assert chi_square_tail(x, freedom) == pytest.approx(p, abs=1e-6)


def test_chi_square_by_hand() -> None:
    """30/20 against 20/30: each cell is 5 off an expected 25, so 4 · 25/25."""
    statistic, p = chi_square({"a": 30, "b": 20}, {"a": 20, "b": 30})

    assert statistic == pytest.approx(4.0)
    assert p == pytest.approx(0.0455, abs=1e-4)


def test_rare_kinds_are_pooled() -> None:
    many = {f"rare {i}": 1 for i in range(20)}
    statistic, p = chi_square({"a": 80, **many}, {"a": 80, **{f"other {i}": 1 for i in range(20)}})

    assert (statistic, p) == (0.0, 1.0)
    assert chi_square({"a": 50}, {"a": 70}) == (0.0, 1.0)


def test_kolmogorov_smirnov_by_hand() -> None:
    """All of one below all of the other: distance 1. Half below: ½."""
    apart, p_apart = kolmogorov_smirnov(range(50), range(100, 150))
    half, _ = kolmogorov_smirnov([1, 2, 3, 4], [3, 4, 5, 6])
    same, p_same = kolmogorov_smirnov(range(50), range(50))

    assert (apart, half, same, p_same) == (1.0, 0.5, 0.0, 1.0)
    assert p_apart < 1e-12


def test_kolmogorov_smirnov_is_right_about_chance() -> None:
    """Of 400 pairs of equal windows about 5 % are below .05."""
    below = sum(
        kolmogorov_smirnov(numbers(2 * i, count=80), numbers(2 * i + 1, count=80))[1] < 0.05
        for i in range(400)
    )

    assert 8 <= below <= 34


def test_psi_by_hand() -> None:
    assert psi_of([50, 50], [50, 50]) == 0.0
    # (.7 − .5) ln(.7/.5) + (.3 − .5) ln(.3/.5)
    assert psi_of([50, 50], [70, 30]) == pytest.approx(0.16946, abs=1e-5)


def test_benjamini_hochberg_by_hand() -> None:
    """Each p times 4 over its rank, never above that of a larger p."""
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx(
        [0.04, 0.16 / 3, 0.16 / 3, 0.5]
    )
    assert benjamini_hochberg([]) == []


def test_the_same_traffic_has_not_drifted() -> None:
    report = find_drift(window(1), window(10))

    assert report.drifted == ()
    assert {moved.band for moved in report.moved} == {"stable"}


def test_what_moved_is_named_with_how_far() -> None:
    report = find_drift(window(1), window(10, shift=1.0, math_share=0.8))
    first, second = report.moved[:2]

    assert set(report.drifted) == {"length", "task"}
    assert (first.name, first.test, first.band) == ("length", "ks", "major")
    assert first.shift.startswith("median ")
    assert (second.name, second.test, second.shift) == ("task", "chi2", "math 50.0% → 80.0%")


def test_a_move_that_is_certain_and_too_small_to_matter_is_no_drift() -> None:
    """Of very many groups every change is certain."""
    before = Window(numbers={}, kinds={"task": {"math": 50_000, "text": 50_000}})
    after = Window(numbers={}, kinds={"task": {"math": 52_000, "text": 48_000}})
    report = find_drift(before, after)

    assert report.moved[0].q < 1e-6
    assert report.drifted == ()


def test_a_property_with_few_values_is_told_and_not_judged() -> None:
    before = Window(numbers={"length": [1.0] * 5}, kinds={"task": {"math": 500}})
    after = Window(numbers={"length": [9.0] * 500}, kinds={"route": {"a": 3}})
    report = find_drift(before, after)

    assert report.moved == ()
    assert set(report.not_compared) == {"length", "task", "route"}


@pytest.mark.parametrize(("old", "new"), [(3.0, 8.0), (8.0, 3.0)])
def test_values_that_are_all_alike_are_compared_too(old: float, new: float) -> None:
    before = Window(numbers={"samples": [old] * 100}, kinds={})
    after = Window(numbers={"samples": [new] * 100}, kinds={})

    assert find_drift(before, before).drifted == ()
    assert find_drift(before, after).drifted == ("samples",)


def test_a_mix_of_a_frequent_value_and_others_is_binned_by_both() -> None:
    """Half of the answers agree fully; later a tenth does, and the rest is as before."""
    rest = [i / 100 for i in range(20, 100)]
    before = Window(numbers={"agreement": [1.0] * 80 + rest}, kinds={})
    after = Window(numbers={"agreement": [1.0] * 10 + rest}, kinds={})

    assert find_drift(before, after).moved[0].band == "major"


def test_a_window_is_read_from_groups() -> None:
    cached = make_group(cache=CacheRecord(hit=True))
    found = window_of([make_group(), make_group(answers=("42",)), failed_group(), cached])

    assert found.numbers["samples"] == [3, 1]
    assert found.numbers["agreement"] == [2 / 3, 1.0]
    assert found.numbers["reward"] == [pytest.approx(2 / 3), 1.0]
    assert found.kinds["verdicts"] == {"calculator: pass": 2}
    assert found.kinds["task"] == {"number": 2}


def test_a_report_is_json() -> None:
    report = find_drift(window(1), replace(window(10), kinds={}))

    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert said["not_compared"] == ["task"]
    assert {moved["name"] for moved in said["moved"]} == {"length", "difficulty"}


def test_drift_is_told_in_lines() -> None:
    moved = find_drift(window(1), window(10, math_share=0.8))
    first, *_ = describe_drift(moved).splitlines()

    assert first.startswith("task        PSI 0.416 (major), q ")
    assert first.endswith(", math 50.0% → 80.0%  DRIFT")
    assert describe_drift(find_drift(window(1), Window(numbers={}, kinds={}))).startswith("too few")
