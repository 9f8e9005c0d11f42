from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.tables import candidate_of, rows
from verifiers.base import AnswerContract, Candidate, ToolCall
from verifiers.extract import extract_answer, guess_contract, lettered_options, unfence_json


@pytest.mark.parametrize("row", rows("extract"))
def test_an_answer_is_found_by_its_named_rule(row):
    choices = ("A", "B", "C", "D") if row["kind"] == "choice" else ()
    contract = AnswerContract(kind=row["kind"], choices=choices)

    answer = extract_answer(candidate_of(row), contract)

    expected = (row["rule"], row["key"], row["reason"])
    assert (answer.rule, answer.key, answer.reason) == expected


def votes(kind: str, completions: list[str], **contract: object) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in completions:
        answer = extract_answer(Candidate(text=text), AnswerContract(kind=kind, **contract))
        if answer.key is not None:
            found[answer.key] = found.get(answer.key, 0) + 1
    return found


def test_equal_values_in_different_spellings_are_one_camp():
    spellings = [
        "\\boxed{0.5}",
        "\\boxed{\\frac{1}{2}}",
        "\\boxed{\\dfrac12}",
        "The answer is 1/2.",
    ]
    rivals = ["it must be \\boxed{\\frac{2}{3}}", "I get \\boxed{\\frac{2}{3}}"]

    assert votes("number", spellings + rivals) == {"1/2": 4, "2/3": 2}


def test_tool_calls_vote_by_name_and_exact_arguments():
    call = ToolCall(id="1", name="get_order", arguments='{"id": 9007199254740993}')
    contract = AnswerContract(kind="tool_calls")

    answer = extract_answer(Candidate(text="", tool_calls=(call,)), contract)

    assert (answer.rule, answer.key) == ("calls", 'get_order({"id":9007199254740993})')


def test_a_named_rule_is_the_only_one_tried():
    boxed = AnswerContract(kind="number", rule="boxed_last")

    assert extract_answer(Candidate(text="Answer: 5"), boxed).reason == "no_answer"
    assert extract_answer(Candidate(text="\\boxed{5}"), boxed).key == "5"


@pytest.mark.parametrize("kind", ["number", "choice", "text"])
def test_a_huge_text_commits_to_nothing(kind):
    answer = extract_answer(Candidate(text="Answer: 5\n" * 10_000), AnswerContract(kind=kind))

    assert (answer.key, answer.reason) == (None, "too_long")


@settings(deadline=None)
@given(st.text(), st.sampled_from(["number", "choice", "text", "json", "tool_calls", "none"]))
def test_any_text_has_an_answer_or_a_reason(text, kind):
    answer = extract_answer(Candidate(text=text), AnswerContract(kind=kind))

    assert (answer.key is None) is (answer.reason != "")


@settings(deadline=None)
@given(st.lists(st.integers(-999, 999), min_size=2, max_size=9, unique=True))
def test_spraying_numbers_commits_to_none_of_them(numbers):
    for form in ("\\boxed{%s}", "#### %s", "Answer: %s"):
        sprayed = "\n".join(form % number for number in numbers)

        answer = extract_answer(Candidate(text=sprayed), AnswerContract(kind="number"))

        assert (answer.key, answer.reason) == (None, "conflicting_answers")


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ('```json\n{"name":"Ada","age":36}\n```', '{"name":"Ada","age":36}'),
        ("```\n[1, 2]\n```\n", "[1, 2]"),
        ('```json\r\n{"a":\r\n1}\r\n```', '{"a":\r\n1}'),
        ('```json\n{"a": 9007199254740993.10}\n```', '{"a": 9007199254740993.10}'),
        ("```json\n42\n```", "42"),
        ('{"a":1}', None),
        ('Here: ```json\n{"a":1}\n```', None),
        ('```json\n{"a":1}\n```\n```json\n{"a":1}\n```', None),
        ('```json\n{"a":1,"a":2}\n```', None),
        ("```python\nprint(1)\n```", None),
        ("```json\n```", None),
    ],
)
def test_one_fence_around_json_comes_off_byte_for_byte(text, inside):
    assert unfence_json(text) == inside


@pytest.mark.parametrize(
    ("prompt", "letters"),
    [
        ("Which? (A) walk (B) drive (C) swim (D) fly", "ABCD"),
        ("Pick one:\nA. walk\nB. drive", "AB"),
        ("a) walk\nb) drive\nc) swim", "ABC"),
        ("Vitamin A. It is good.", ""),
        ("What is plan B) about?", ""),
    ],
)
def test_lettered_options_are_read_from_the_prompt(prompt, letters):
    assert lettered_options(prompt) == tuple(letters)


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("What is 7 + 5?", "number"),
        ("Tom has 3 apples and buys 4 more. How many does he have?", "number"),
        ("How many legs does a spider have?", "number"),
        ("What is the sum of the digits of 798?", "number"),
        ("A shirt costs $20 and is 15% off. What is its price? Explain your reasoning.", "number"),
        ("Solve it and put the result in \\boxed{}.", "number"),
        ("Simplify $\\frac{x}{2} + x$. Put the answer in \\boxed{}.", "math"),
        ("Simplify $\\frac{1}{2} + 2$.", "none"),
        ("Which option is right? (A) walk (B) drive (C) swim (D) fly", "choice"),
        ("Which city is the capital of Australia? Answer with the city only.", "text"),
        ("Name the capital of Peru in one word.", "text"),
        ("Hi!", "none"),
        ("How are you?", "none"),
        ("How much do you love me?", "none"),
        ("What is the capital of France?", "none"),
        ("Write a poem about how many stars there are.", "none"),
        ("Explain how many bits make a byte.", "none"),
        ("List three fruits.", "none"),
    ],
)
def test_a_task_without_verifiers_gets_a_vote_only_when_it_asks_for_one_answer(prompt, kind):
    assert guess_contract(prompt, "").kind == kind


def test_a_short_answer_may_be_asked_for_by_the_system_message():
    assert guess_contract("Capital of Peru?", "Answer in one word.").kind == "text"
