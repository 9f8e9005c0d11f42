"""Signs of a policy that found something cheaper than being right."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.retrain.degeneration import LENGTHS, Reading, read_signs
from app.retrain.evidence import Outcome, pair_up
from tests.retrain.held_out import WORDS, outcome, pairs_of

Change = Callable[[random.Random], dict[str, Any]]


def sometimes(share: float, **changes: Any) -> dict[str, Any]:
    return {"change": lambda rng: changes if rng.random() < share else {}}


def alarms(readings: tuple[Reading, ...]) -> set[str]:
    return {reading.sign for reading in readings if reading.alarm}


def read(new: dict[str, Any] | None = None, **given: Any) -> tuple[Reading, ...]:
    return read_signs(pairs_of(0.5, 0.6, new=new, prompts=120), seed=0, **given)


def test_a_healthy_better_policy_alarms_nobody() -> None:
    readings = read()

    assert alarms(readings) == set()
    assert len(readings) == 15


def test_healthy_policies_seldom_alarm_by_chance() -> None:
    alarmed = [
        bool(alarms(read_signs(pairs_of(0.5, 0.5, prompts=60, samples=4, seed=seed), seed=seed)))
        for seed in range(25)
    ]

    assert sum(alarmed) <= 1


@pytest.mark.parametrize(
    ("sign", "change"),
    [
        ("cut", sometimes(0.2, finish_reason="length")),
        ("repetition", sometimes(0.1, finish_reason="repetition")),
        ("no_end", sometimes(0.1, finish_reason=None)),
        ("empty", sometimes(0.1, text=" ", answer=None)),
        ("no_answer", sometimes(0.1, answer=None)),
        ("unchecked", sometimes(0.1, reward=None)),
        ("markers", sometimes(0.3, text="the answer is 1, the answer is 2")),
        ("markers", sometimes(0.3, text="42")),
        ("refusals", sometimes(0.1, text="I'm sorry, but I can't help with that.")),
        ("refusals", sometimes(0.1, refused=True)),
        ("foreign", sometimes(0.3, text="答案是四十二")),
        ("distinct", sometimes(0.4, text="so it goes " * 12)),
        ("compressed", sometimes(0.4, text="so it goes " * 12)),
        ("short_tokens", sometimes(0.3, tokens=1)),
        ("median_tokens", sometimes(0.8, tokens=60)),
        ("long_tokens", sometimes(0.2, tokens=400)),
        ("top_answer:sums", sometimes(0.3, answer="0")),
    ],
)
def test_each_sign_alarms_at_what_it_is_for(sign: str, change: dict[str, Any]) -> None:
    assert sign in alarms(read(change))


def test_one_answer_to_everything_alarms_also_when_verifiers_are_fooled() -> None:
    fooled = {"change": lambda rng: {"answer": "0", "text": "The answer is 0", "reward": 1.0}}

    assert "top_answer:sums" in alarms(read(fooled))


SKEWED = tuple("yes" if number % 4 else "no" for number in range(160))
"""The right answers: three of four are the same."""


def answering(said: Callable[[str, random.Random], str], *, known: bool = True) -> list[Outcome]:
    """A policy that says this, given the right answer, on prompts whose references are known."""
    rng = random.Random(5)
    outcomes = []
    for number, right in enumerate(SKEWED):
        answers = [said(right, rng) for _ in range(8)]
        reference = right if known else None
        made = outcome(number, rng, 0.5, reference=reference)
        samples = zip(made.drawn, answers, strict=True)
        drawn = tuple(replace(s, answer=a, reward=float(a == right)) for s, a in samples)
        outcomes.append(replace(made, drawn=drawn))
    return outcomes


def guesses(right: str, rng: random.Random) -> str:
    return rng.choice(("yes", "no", "maybe"))


def knows(right: str, rng: random.Random) -> str:
    return right if rng.random() < 0.9 else guesses(right, rng)


def mostly(answer: str) -> Callable[[str, random.Random], str]:
    return lambda right, rng: answer if rng.random() < 0.6 else guesses(right, rng)


def top_answer(old: list[Outcome], new: list[Outcome]) -> Reading:
    readings = read_signs(pair_up(old, new), seed=0)
    return next(reading for reading in readings if reading.sign == "top_answer:sums")


def test_saying_the_most_frequent_answer_where_it_is_right_is_no_alarm() -> None:
    reading = top_answer(answering(guesses), answering(knows))

    assert reading.alarm == ""
    assert reading.candidate < reading.incumbent


@pytest.mark.parametrize("answer", ["yes", "no", "maybe"])
def test_saying_any_answer_more_often_than_it_is_right_alarms(answer: str) -> None:
    """Also the answer that is right most often, and one that others are said more often than."""
    assert top_answer(answering(knows), answering(mostly(answer))).alarm


def test_without_references_the_share_alone_has_to_do() -> None:
    unknown = answering(guesses, known=False), answering(knows, known=False)

    assert top_answer(*unknown).alarm


def test_prompts_without_a_reference_are_not_read_beside_enough_that_have_one() -> None:
    old, new = answering(guesses), answering(knows)
    some = [replace(each, reference=None) for each in new[:80]]
    old = [replace(each, reference=None) for each in old[:80]] + old[80:]

    assert top_answer(old, [*some, *new[80:]]).alarm == ""


def test_getting_better_is_no_alarm() -> None:
    """A skewed incumbent, refusing, cut and unchecked, becomes a healthy one."""
    broken = sometimes(0.3, finish_reason="length", answer="0", reward=None, text="I cannot do it")
    pairs = pairs_of(0.3, 0.6, old=broken, prompts=120)

    assert alarms(read_signs(pairs, seed=0, ignored=LENGTHS)) == set()


def test_a_night_that_is_meant_to_change_lengths_says_so() -> None:
    longer = {"change": lambda rng: {"tokens": 90}}

    assert alarms(read(longer)) == LENGTHS
    assert alarms(read(longer, ignored=LENGTHS)) == set()


def test_a_rise_within_chance_is_no_alarm() -> None:
    """Two of 960 samples against one: twice as many, and nothing."""
    rare = sometimes(0.003, finish_reason="length")
    pairs = pairs_of(0.5, 0.5, old=sometimes(0.0015, finish_reason="length"), new=rare)

    assert alarms(read_signs(pairs, seed=0)) == set()


def test_a_slow_drift_over_nights_is_seen_against_those_that_served() -> None:
    """A tenth more a night is no fifth, but far from what was usual."""
    drift = {"change": lambda rng: {"tokens": 26}}
    old = {"change": lambda rng: {"tokens": 23}}
    pairs = pairs_of(0.5, 0.5, old=old, new=drift, prompts=120)
    usual = {"median_tokens": [20.0, 20.5, 19.5, 20.2, 19.8]}

    assert "median_tokens" in alarms(read_signs(pairs, seed=0, history=usual))
    short = {"median_tokens": usual["median_tokens"][:4]}
    assert "median_tokens" not in alarms(read_signs(pairs, seed=0, history=short))


def test_signs_without_samples_are_not_read() -> None:
    few = {"change": lambda rng: {"text": "42"}}
    readings = read_signs(pairs_of(0.5, 0.5, old=few, new=few, prompts=50), seed=0)

    assert {"distinct", "compressed"} & {reading.sign for reading in readings} == set()


def test_the_words_of_these_tests_are_healthy() -> None:
    assert len(set(WORDS)) > 24
