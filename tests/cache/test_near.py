"""Which other wordings are worth a check, and which are other questions."""

from __future__ import annotations

import pytest

from app.cache.near import LONGEST_PROMPT, MOST_OF_A_KIND, NearIndex

APPLES = "Tom has 5 apples and buys 7 more at the shop. How many apples does Tom have now?"
OPTIONS = "Which planet is the largest of all?\nA) Mars\nB) Jupiter\nC) Venus"


def is_near(known: str, asked: str) -> bool:
    index = NearIndex()
    index.add("scope", known, "key")
    return index.find("scope", asked) == ("key",)


@pytest.mark.parametrize(
    "asked",
    [
        APPLES,
        "Tom has  5 apples and buys 7 more at the shop.\nHow many apples does Tom have now?\n",
        "Tom has 5 apples and buys 7 more at the shop. how many apples does Tom have now",
        "Tom has 5 apples, and buys 7 more at the shop. How many apples does Tom have now?!",
        "Please: Tom has 5 apples and buys 7 more at the shop. How many apples does Tom have now?",
        "Tom has 5 aples and buys 7 more at the shop. How many apples does Tom have now?",
    ],
)
def test_other_spacing_punctuation_and_small_slips_are_near(asked):
    assert is_near(APPLES, asked)


@pytest.mark.parametrize(
    "asked",
    [
        "Tom has 6 apples and buys 7 more at the shop. How many apples does Tom have now?",
        "Tom has 7 apples and buys 5 more at the shop. How many apples does Tom have now?",
        "Tom has 5.0 apples and buys 7 more at the shop. How many apples does Tom have now?",
        "Tom has -5 apples and buys 7 more at the shop. How many apples does Tom have now?",
        "Tom has five apples and buys 7 more at the shop. How many apples does Tom have now?",
        "Tom has 5 apples and buys 7 fewer at the shop. How many apples does Tom have now?",
        "Tom has 5 apples and sells 7 more at the shop. How many apples does Tom have not?",
        "Tim has 5 apples and buys 7 more at the shop. How many apples does Tim have now?",
        "Tom has 5 apples and buys 7 more at the shop. How many apples does Ann have now?",
        "Tom has 5 apples and buys 7 kg more at the shop. How many apples does Tom have now?",
        "Tom has 5 apples and buys 7 more at the shop. How many apples did Tom have before?",
        "Tom has 5 apples and never buys 7 more at the shop. How many apples does Tom have now?",
        "Tom has twice 5 apples and buys 7 more at the shop. How many apples does Tom have now?",
        "Tom has 5 apples and buys 7% more at the shop. How many apples does Tom have now?",
        "Tom has 5 apples and buys 7 more at the shop. Why does Tom have apples now?",
        "A farmer grows wheat, 5 rows and 7 more. How many Tom has?",
        "",
    ],
)
def test_other_numbers_names_units_and_little_words_are_other_questions(asked):
    assert not is_near(APPLES, asked)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ("What is 5!", "What is 5"),
        ("Simplify \\sin x + \\cos x for all x.", "Simplify \\cos x + \\cos x for all x."),
        ("Find the value of sin x at 3.", "Find the value of cos x at 3."),
        ("Reverse the word 'level' in it.", "Reverse the word 'tiger' in it."),
        ('How long is the string "ab c"?', 'How long is the string "ab d"?'),
        ("What does `f(a)` return here?", "What does `f(b)` return here?"),
        ("What is the value of user_id here?", "What is the value of user_no here?"),
        ("Solve for x: 2x + y = 3", "Solve for y: 2x + y = 3"),
        ("Who wrote Polish books?", "Who wrote polish books?"),
        ("Is 3 < 4 true?", "Is 3 > 4 true?"),
        ("Wie viele Äpfel hat er nicht gegessen?", "Wie viele Äpfel hat er noch gegessen?"),
        ("Combien de pommes ne mange pas Luc?", "Combien de pommes mange Luc?"),
        (OPTIONS, OPTIONS.replace("Venus", "Saturn")),
        (OPTIONS, OPTIONS.replace("A) Mars\nB) Jupiter", "A) Jupiter\nB) Mars")),
        ("Pick one of all:\n- red\n- blue", "Pick one of all:\n- red\n- green"),
    ],
)
def test_symbols_quotations_options_and_other_languages_must_be_the_same(known, asked):
    assert is_near(known, known)
    assert not is_near(known, asked)


def test_scopes_do_not_meet():
    index = NearIndex()
    index.add("ours", APPLES, "key")

    assert index.find("theirs", APPLES) == ()
    assert index.find("", APPLES) == ()


def test_the_nearest_comes_first_and_there_are_two_at_most():
    index = NearIndex()
    for key, noun in (("1", "pears"), ("2", "apples"), ("3", "plums")):
        index.add("s", APPLES.replace("apples", noun), key)

    assert index.find("s", APPLES)[0] == "2"
    assert len(index.find("s", APPLES)) == 2


def test_the_latest_answer_to_a_wording_is_the_one():
    index = NearIndex()
    for key in ("old", "new"):
        index.add("s", APPLES, key)

    assert index.find("s", APPLES) == ("new",)
    assert len(index) == 1


def test_the_index_is_bounded():
    index = NearIndex(most=50)
    for number in range(500):
        index.add("s", APPLES.replace("5", str(number)), f"key {number}")
        index.add("s", APPLES.replace("apples", "x" * number), "other")

    assert len(index) <= 50
    assert index.find("s", APPLES.replace("5", "499")) == ("key 499",)
    assert index.find("s", APPLES.replace("5", "3")) == ()


def test_one_wording_has_few_kin_and_long_prompts_none():
    index = NearIndex()
    for number in range(50):
        index.add("s", APPLES.replace("apples", "abcdefghij"[number % 10] * (number + 2)), "key")
    index.add("s", "long " * LONGEST_PROMPT, "key")

    assert len(index) == MOST_OF_A_KIND


@pytest.mark.parametrize("prompt", ["`" * 1_999, "'" * 1_999, "a-" * 999, "A." * 999, "\n- " * 600])
def test_no_prompt_takes_long(prompt):
    index = NearIndex()
    index.add("s", prompt, "key")

    assert index.find("s", prompt) == ("key",)
