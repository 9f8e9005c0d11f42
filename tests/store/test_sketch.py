"""Which prompts resemble each other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.store.sketch import NEAR, RUNS, likeness, sketch_of

STORY = (
    "natalia sold clips to 48 of her friends in april, and then she sold half as many clips in "
    "may. how many clips did natalia sell altogether in april and may?"
)


def alike(a: str, b: str) -> float:
    return likeness(sketch_of(a).runs, sketch_of(b).runs)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("what is 3 + 5?", "what is 5 + 3?"),
        ("what is 3 + 5?", "what is 3 + 5"),
        ("sort: pear, fig, plum", "sort: plum, fig, pear!"),
    ],
)
def test_the_same_words_in_another_order_are_the_same_bag(a: str, b: str) -> None:
    assert sketch_of(a).bag == sketch_of(b).bag


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("what is 3 + 5?", "what is 3 - 5?"),
        ("what is 3 + 5?", "what is 3 + 6?"),
        ("what is 3 + 5?", "what is 3 + 5 + 5?"),
        ("how much is 1,500?", "how much is 1.500?"),
        ("?", "!"),
    ],
)
def test_another_sign_number_or_count_is_another_bag(a: str, b: str) -> None:
    assert sketch_of(a).bag != sketch_of(b).bag


def test_a_word_more_or_a_number_changed_is_nearly_the_same_long_prompt() -> None:
    assert alike(STORY, "please: " + STORY) > NEAR
    assert alike(STORY, STORY.replace("48", "52")) > NEAR


def test_a_short_question_with_another_number_is_another_question() -> None:
    assert alike("what is 3 + 5?", "what is 3 + 6?") == 0.5


def test_nearly_the_same_prompts_share_a_band() -> None:
    changed = [f"{word} {STORY}" for word in ("please", "now", "well", "ok", "tell me")]
    original = set(sketch_of(STORY).bands)

    assert all(original & set(sketch_of(prompt).bands) for prompt in changed)


def test_of_a_long_prompt_an_even_sample_is_kept() -> None:
    words = [f"word{i}" for i in range(2_000)]
    other = [*words[:1_600], *(f"else{i}" for i in range(400))]
    a, b = sketch_of(" ".join(words)), sketch_of(" ".join(other))

    assert len(a.runs) == RUNS
    assert likeness(a.runs, b.runs) == pytest.approx(1_600 / 2_400, abs=0.12)


@pytest.mark.parametrize("odd", ["", "?", "a", "東京はどこですか", "\ud800", "x" * 10_000])
def test_any_prompt_has_a_sketch(odd: str) -> None:
    sketch = sketch_of(odd)

    assert likeness(sketch.runs, sketch.runs) == 1.0


def test_a_sketch_is_the_same_in_every_process() -> None:
    program = f"from app.store.sketch import sketch_of; print(sketch_of({STORY!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == str(sketch_of(STORY))
