"""What is read of a task before anything is drawn."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.features import GRAM_BITS, READ_CHARS, read_features, read_grams
from tests.parts import ROOT
from tests.routing.planted import features_of
from verifiers.base import AnswerContract


def test_counts_are_what_a_person_would_count():
    features = features_of(
        "If $\\frac{3}{4}$ of 120 apples, which Tom bought, are red,"
        " how many are red? Compute 3 + 4."
    )

    assert (features.numbers, features.operators, features.questions) == (5, 1, 1)
    assert (features.latex, features.reasoning_words, features.code) == (3, 2, False)
    assert features.clauses == 5
    assert features.chars == 91


@pytest.mark.parametrize(
    ("prompt", "is_code"),
    [
        ("Write a Python function that adds.", True),
        ("```\nx\n```", True),
        ("Add unit tests.", True),
        ("Feed the python-like snake", True),
        ("Sum the pythons", False),
    ],
)
def test_code_is_known_by_its_words(prompt, is_code):
    assert features_of(prompt).code is is_code


@pytest.mark.parametrize(("prompt", "is_talk"), [("hi!", True), ("Hi, what is 2 + 2?", False)])
def test_small_talk_is_short_and_nothing_else(prompt, is_talk):
    assert features_of(prompt).small_talk is is_talk


def test_a_long_prompt_is_read_at_both_ends():
    """A document comes before the question in one prompt and after it in the next."""
    filler = "lorem ipsum " * READ_CHARS
    asked = {place for _, place in read_grams("how many shells")}

    for prompt in (f"How many shells? {filler}", f"{filler} How many shells"):
        assert asked <= set(features_of(prompt).grams)
    assert "how many shells" not in f"{filler}"
    assert not asked <= set(features_of(f"{filler} How many shells? {filler}").grams)


def test_runs_of_words_are_seen_once_each_and_numbers_by_their_length():
    grams = dict(read_grams("Buy 25 apples, buy 37 apples"))

    assert list(grams) == [
        "buy",
        "2digits",
        "buy 2digits",
        "apples",
        "2digits apples",
        "apples buy",
    ]
    assert all(0 <= place < 2**GRAM_BITS for place in grams.values())


def test_the_places_of_words_are_the_same_in_every_process():
    """Python's own hash changes from one process to the next; what was learned would be lost."""
    code = "from app.routing.features import read_grams; print(read_grams('How many shells?'))"
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
    )

    assert there.stdout.strip() == str(read_grams("How many shells?"))


def test_the_system_prompt_counts_by_its_bucket():
    def bucket(system: str) -> int:
        contract = AnswerContract(kind="number")
        return read_features("2 + 2?", contract, verifiers=0, decisive=False, system=system).system

    assert bucket("") == 0
    assert bucket("Answer briefly.") == bucket("Answer briefly.") > 0
    assert bucket("Answer briefly.") != bucket("Answer at length.")


@given(st.text(max_size=200) | st.text(alphabet="\ud800\x00$\\0٣²ß İ", max_size=50))
def test_any_text_has_features(prompt):
    features = features_of(prompt)

    assert features.words <= features.tokens <= len(prompt.lower())
    assert len(features.grams) == len(set(features.grams))
