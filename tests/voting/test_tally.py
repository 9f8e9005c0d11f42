"""Canonicalise, then count; what may vote and what only costs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.group import Tally
from app.sample import Scored
from app.voting.tally import tally_votes
from tests.builders import a_group, a_sample, a_scored, a_verdict
from verifiers.base import AnswerContract, Candidate, ToolCall
from verifiers.extract import extract_answer


def test_votes_are_counted_per_answer_and_the_leader_is_ahead_by_the_margin():
    tally = tally_votes([a_scored(0, "42"), a_scored(1, "41"), a_scored(2, "42")])

    assert tally == Tally(votes=(("42", 2), ("41", 1)), leader="42", runner_up="41", margin=1)


def test_a_tie_has_no_leader():
    tally = tally_votes([a_scored(0, "42"), a_scored(1, "41")])

    assert (tally.leader, tally.margin) == (None, 0)


@pytest.mark.parametrize(
    "silent",
    [
        a_scored(9, "7", finish_reason="length"),
        a_scored(9, "7", finish_reason=None),
        a_scored(9, "7", finish_reason=None, cancelled=True),
        a_scored(9, "7", finish_reason="content_filter"),
        a_scored(9, None),
        a_scored(9, "7", a_verdict("fail")),
        a_scored(9, "7", a_verdict("fail", role="gate", decisive=False)),
        a_scored(9, "7", a_verdict("fail", role="policy", decisive=False)),
    ],
    ids=["truncated", "cut", "cancelled", "filtered", "no_answer", "refuted", "gate", "policy"],
)
def test_a_sample_that_is_not_whole_or_not_standing_costs_but_does_not_vote(silent):
    tally = tally_votes([a_scored(0, "42"), silent])

    assert tally.votes == (("42", 1),)


@pytest.mark.parametrize("status", ["abstain", "error"])
def test_a_sample_that_could_not_be_checked_still_votes(status):
    tally = tally_votes([a_scored(0, "42", a_verdict(status))])

    assert tally.votes == (("42", 1),)


def test_once_a_sample_is_proven_only_passing_samples_vote():
    tally = tally_votes(
        [
            a_scored(0, "41", a_verdict("abstain")),
            a_scored(1, "41", a_verdict("error")),
            a_scored(2, "42", a_verdict("pass")),
        ]
    )

    assert tally == Tally(votes=(("42", 1),), leader="42", runner_up=None, margin=1)


def test_a_pass_that_proves_nothing_silences_nobody():
    tally = tally_votes([a_scored(0, "41"), a_scored(1, "42", a_verdict("pass", decisive=False))])

    assert dict(tally.votes) == {"41": 1, "42": 1}


_scored = st.builds(
    lambda key, status, finish: (key, status, finish),
    st.sampled_from(["1", "2", "3", None]),
    st.sampled_from(["pass", "fail", "abstain", "error", None]),
    st.sampled_from(["stop", "length", None]),
)


@given(st.lists(_scored, max_size=5))
def test_the_tally_does_not_depend_on_the_order_of_arrival(rows):
    scored = [
        a_scored(i, key, *([a_verdict(status)] if status else []), finish_reason=finish)
        for i, (key, status, finish) in enumerate(rows)
    ]

    tallies = {tally_votes(order) for order in itertools.permutations(scored)}

    assert len(tallies) == 1


def said(contract: AnswerContract, *candidates: Candidate) -> list[Scored]:
    """The candidates as scored samples, their answers extracted as the gateway does."""
    return [
        Scored(
            sample=a_sample(i, each.text, finish_reason=each.finish_reason),
            answer=extract_answer(each, contract),
        )
        for i, each in enumerate(candidates)
    ]


def texts(*written: str) -> list[Candidate]:
    return [Candidate(text=text) for text in written]


def calls(*written: tuple[str, str]) -> list[Candidate]:
    return [
        Candidate(
            text="",
            tool_calls=(ToolCall(id=f"call_{i}", name=name, arguments=arguments),),
            finish_reason="tool_calls",
        )
        for i, (name, arguments) in enumerate(written)
    ]


LETTERS = AnswerContract(kind="choice", choices=tuple("ABCD"))


@pytest.mark.parametrize(
    ("contract", "candidates", "votes"),
    [
        pytest.param(
            AnswerContract(kind="math"),
            texts(
                "so the value is \\boxed{0.5}",
                "hence \\boxed{\\frac{1}{2}}",
                "thus \\boxed{\\dfrac12}",
                "The answer is 1/2.",
                "it must be \\boxed{\\frac{2}{3}}",
                "I get \\boxed{\\frac{2}{3}}",
            ),
            [4, 2],
            id="one_value_in_many_spellings",
        ),
        pytest.param(
            AnswerContract(kind="number"),
            texts("Answer: 1,200", "Answer: $1200.00", "Answer: 1.2e3", "Answer: 1201"),
            [3, 1],
            id="one_number_in_many_spellings",
        ),
        pytest.param(
            AnswerContract(kind="date", day_order="mdy"),
            texts("Answer: 04/01/2021", "Answer: April 1, 2021", "Answer: 01/04/2021"),
            [2, 1],
            id="one_day_in_two_spellings",
        ),
        pytest.param(
            LETTERS,
            texts(
                "The answer is B because a car moves.",
                "I would pick (B), a safe choice.",
                "Answer: B",
                "d",
                "D. a plane is needed",
            ),
            [3, 2],
            id="an_article_after_the_answer_is_no_letter",
        ),
        pytest.param(
            LETTERS,
            texts("Answer: C, as a dog and I would", "Answer: C", "As a rule, I think not."),
            [2],
            id="letters_of_running_text_do_not_vote",
        ),
        pytest.param(
            AnswerContract(kind="tool_calls"),
            calls(
                ("get_order", '{"id": 9007199254740993}'),
                ("get_order", '{"id":9007199254740993}'),
                ("get_order", '{"id": 9007199254740992}'),
            ),
            [2, 1],
            id="ids_that_differ_by_one_are_two_answers",
        ),
        pytest.param(
            AnswerContract(kind="tool_calls"),
            calls(
                ("pay", '{"to": "Ann", "cents": 100}'),
                ("pay", '{"cents":1e2,"to":"Ann"}'),
                ("pay", '{"cents": 100, "to": "ann"}'),
                ("refund", '{"to": "Ann", "cents": 100}'),
            ),
            [2, 1, 1],
            id="equal_calls_are_one_vote",
        ),
    ],
)
def test_the_unit_of_a_vote_is_what_was_meant_and_not_its_spelling(contract, candidates, votes):
    """Field cases pc-011, pc-014 and pc-036, and their kinds."""
    tally = tally_votes(said(contract, *candidates))

    assert [count for _, count in tally.votes] == votes


@pytest.mark.parametrize(
    "unfinished",
    [
        Candidate(text="", finish_reason="length"),
        Candidate(text="<think>maybe \\boxed{16}? plus", finish_reason="length"),
        Candidate(text="<think>maybe \\boxed{16}? plus", finish_reason="stop"),
        Candidate(text="\\boxed{16", finish_reason="length"),
        Candidate(text="\\boxed{16}", finish_reason=None),
    ],
    ids=["no_content", "cut_thinking", "endless_thinking", "cut_answer", "never_ended"],
)
def test_unfinished_thinking_costs_and_does_not_vote(unfinished):
    """Field case pc-017: three of five samples stop inside their thinking."""
    finished = texts("\\boxed{24}", "7+9+8 = \\boxed{24}")
    scored = said(AnswerContract(kind="number"), *[unfinished] * 3, *finished)

    assert tally_votes(scored) == Tally(votes=(("24", 2),), leader="24", margin=2)
    assert len(a_group(*scored).current) == 5
