"""When a policy may serve, and what is said when it may not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.retrain.evidence import Outcome, Pair
from app.retrain.gate import GateSettings, GateVerdict, judge
from app.retrain.measures import measure, measure_slices
from tests.retrain.held_out import pairs_of

QUICK = {"resamples": 500}


def verdict_on(pairs: tuple[Pair, ...], *, kl: float | None = 0.1, **settings: Any) -> GateVerdict:
    return judge(pairs, GateSettings(**settings), seed=0, kl=kl, **QUICK)


def failed(verdict: GateVerdict) -> list[str]:
    return [check.name for check in verdict.checks if check.passed is False]


def test_a_clearly_better_policy_serves_and_the_report_says_why() -> None:
    verdict = verdict_on(pairs_of(0.4, 0.6))

    assert verdict.promote
    assert failed(verdict) == []
    assert verdict.reasons[0].startswith("pass_at_1 ")
    assert "p = 0.002" in verdict.reasons[0]


def test_an_equal_policy_does_not() -> None:
    verdict = verdict_on(pairs_of(0.5, 0.5))

    assert not verdict.promote
    assert "better" in failed(verdict)


def test_an_equal_policy_that_costs_a_tenth_less_does() -> None:
    """Every sample is the same but for its length."""
    pairs = tuple(
        Pair(pair.incumbent, replace(pair.incumbent, drawn=shorter(pair)))
        for pair in pairs_of(0.5, 0)
    )
    verdict = verdict_on(pairs)

    assert verdict.promote
    assert verdict.reasons[0].endswith("as good (lower 99 % bound +0.0 pt) with 15% fewer tokens")


def shorter(pair: Pair) -> Any:
    return tuple(replace(s, tokens=s.tokens * 0.85) for s in pair.incumbent.drawn)


@pytest.mark.parametrize("primary", ["pass_at_1", "vote", "verified", "greedy"])
def test_any_metric_can_be_the_primary_one(primary: Any) -> None:
    verdict = verdict_on(pairs_of(0.2, 0.5), primary=primary)

    assert verdict.promote
    assert verdict.reasons[0].startswith(f"{primary} ")


def test_right_and_wrong_are_compared_by_mcnemar_unless_prompts_are_duplicates() -> None:
    pairs = pairs_of(0.3, 0.6)
    twins = tuple(
        Pair(replace(p.incumbent, cluster=c), replace(p.candidate, cluster=c))
        for i, p in enumerate(pairs)
        for c in [str(i // 2)]
    )
    alone, paired = (measure(given, "greedy", seed=0, **QUICK) for given in (pairs, twins))

    assert alone is not None
    assert paired is not None
    assert (alone.test, paired.test) == ("mcnemar", "bootstrap")
    assert (alone.won, alone.lost, alone.clusters) == (paired.won, paired.lost, 220)
    assert paired.clusters == 110


def test_a_slice_that_got_worse_refuses_a_better_policy() -> None:
    better = pairs_of(0.3, 0.7, slices={"language": "en"}, prompts=250)
    worse = pairs_of(0.6, 0.4, slices={"language": "de"}, prompts=250, seed=1)
    verdict = verdict_on((*better, *renumbered(worse)))

    assert failed(verdict) == ["slices"]
    assert "language=de" in verdict.reasons[0]
    assert "language=en" not in verdict.reasons[0]


def renumbered(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    return tuple(
        Pair(
            *(
                replace(o, prompt=f"other {o.prompt}", cluster=f"other {o.cluster}")
                for o in (pair.incumbent, pair.candidate)
            )
        )
        for pair in pairs
    )


def test_small_slices_are_pooled_and_a_pool_that_is_too_small_is_told() -> None:
    names = ["large"] * 220 + ["a"] * 15 + ["b"] * 15
    pairs = tuple(
        Pair(*(replace(o, slices={"route": name}) for o in (pair.incumbent, pair.candidate)))
        for name, pair in zip(names, pairs_of(0.3, 0.6, prompts=250), strict=True)
    )
    pooled = measure_slices(pairs, "pass_at_1", min_prompts=20, seed=0, **QUICK)
    verdict = verdict_on(pairs)

    assert [(s.value, s.prompts, s.decides) for s in pooled] == [
        ("large", 220, True),
        ("other", 30, True),
    ]
    assert verdict.promote
    assert "route=other has only 30 prompts and decides nothing" in str(verdict.checks)


def test_a_gain_that_hidden_verifiers_do_not_see_is_refused() -> None:
    pairs = pairs_of(0.4, 0.6)
    hacked, honest = verdict_on(with_hidden(pairs, 0.05)), verdict_on(with_hidden(pairs, 0.15))

    assert failed(hacked) == ["hidden"]
    assert hacked.reasons[0].startswith("hidden verifiers see +5.0 pt where")
    assert honest.promote


def with_hidden(pairs: tuple[Pair, ...], gain: float) -> tuple[Pair, ...]:
    def seen(outcome: Outcome, score: float) -> Outcome:
        return replace(outcome, drawn=tuple(replace(s, hidden=score) for s in outcome.drawn))

    return tuple(Pair(seen(p.incumbent, 0.4), seen(p.candidate, 0.4 + gain)) for p in pairs)


def test_without_hidden_verifiers_that_is_told() -> None:
    (hidden,) = (c for c in verdict_on(pairs_of(0.4, 0.6)).checks if c.name == "hidden")

    assert (hidden.passed, hidden.reason) == (None, "no hidden verifier judged these prompts")


def test_a_degenerate_policy_is_refused_however_often_it_is_right() -> None:
    loops = {"change": lambda rng: {"finish_reason": "length"} if rng.random() < 0.3 else {}}
    verdict = verdict_on(pairs_of(0.4, 0.7, new=loops))

    assert failed(verdict) == ["degeneration"]
    assert "cut (share that ran into the token limit)" in verdict.reasons[0]
    assert verdict_on(
        pairs_of(0.4, 0.7, new=loops), ignored_signs=frozenset({"cut", "no_end"})
    ).promote


@pytest.mark.parametrize("kl", [None, float("nan"), 0.6])
def test_a_policy_too_far_from_the_incumbent_or_unmeasured_is_refused(kl: float | None) -> None:
    assert failed(verdict_on(pairs_of(0.4, 0.6), kl=kl)) == ["kl"]


def test_too_few_prompts_decide_nothing() -> None:
    few = verdict_on(pairs_of(0.1, 0.9, prompts=60))
    twins = pairs_of(0.1, 0.9, cluster="all the same")

    assert failed(few) == failed(verdict_on(twins)) == ["enough"]
    assert few.reasons == (
        "60 of 60 held-out prompts could be judged for both policies, 60 of them different; "
        "200 are needed",
    )


def test_a_policy_cannot_choose_its_exam_by_making_answers_that_nobody_can_check() -> None:
    """Where it would fail, the verifier errs: what is left looks better."""
    unchecked = {"change": lambda rng: {"reward": None}}
    pairs = pairs_of(0.4, 0.9, prompts=260)
    dodged = pairs_of(0.4, 0.9, prompts=100, seed=1, new=unchecked)
    verdict = verdict_on((*pairs, *renumbered(dodged)))

    assert failed(verdict) == ["enough"]
    assert "more than 10% could not" in verdict.reasons[0]


def test_a_refusal_says_what_so_many_prompts_can_show() -> None:
    verdict = verdict_on(pairs_of(0.5, 0.5), primary="greedy")
    (better,) = (check for check in verdict.checks if check.name == "better")

    assert "p < 0.01 is needed (220 prompts show +" in better.reason


def test_the_verdict_is_json() -> None:
    said = json.loads(json.dumps(verdict_on(pairs_of(0.4, 0.6)).to_json(), allow_nan=False))

    assert said["promote"] is True
    assert {"pass_at_1", "vote", "verified", "greedy", "tokens"} == set(said["metrics"])
    assert said["metrics"]["tokens"]["p_better"] is None
    assert said["slices"][0]["dimension"] == "difficulty"
    assert said["signs"][0]["sign"] == "cut"


def test_the_same_evidence_and_seed_give_the_same_verdict() -> None:
    assert verdict_on(pairs_of(0.4, 0.6)) == verdict_on(pairs_of(0.4, 0.6))
