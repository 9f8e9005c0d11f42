"""Partial credit of sets and lists: what a wrong answer may still earn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verifiers.base import AnswerContract, Candidate, Status
from verifiers.extract import extract_answer
from verifiers.items import _count_in_order, compare_items, prepare_items

WORDS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12)


def longest_common(left: list[str], right: list[str]) -> int:
    """The textbook table."""
    lengths = [0] * (len(right) + 1)
    for one in left:
        diagonal = 0
        for at, other in enumerate(right, 1):
            above = lengths[at]
            lengths[at] = diagonal + 1 if one == other else max(above, lengths[at - 1])
            diagonal = above
    return lengths[-1]


@given(WORDS, WORDS)
def test_items_in_order_are_the_longest_common_subsequence(left, right):
    assert _count_in_order(left, right) == longest_common(left, right)


@given(WORDS, WORDS, st.sampled_from(["set", "list", "bag"]))
def test_a_score_is_one_exactly_for_a_pass_and_never_more(said, wanted, form):
    contract = AnswerContract(
        kind="set" if form == "set" else "list",
        order="any" if form == "bag" else "same",
        dedup=form == "set",
    )
    prepared = prepare_items({"reference": wanted, "partial": True}, contract)
    answer = extract_answer(Candidate(text=f"Answer: {', '.join(said)}"), contract)

    found = compare_items(prepared, answer)

    score = 1.0 if found.score is None else found.score
    assert 0 <= score <= 1
    assert (score == 1) == (found.status is Status.PASS)


def test_a_list_of_many_long_items_earns_its_share():
    """Longer than what a key holds in clear."""
    wanted = [f"the city number {index} of this country" for index in range(100)]
    contract = AnswerContract(kind="list")
    prepared = prepare_items({"reference": wanted, "partial": True}, contract)
    text = "Answer below.\n" + "\n".join(f"- {item}" for item in wanted[:80])

    found = compare_items(prepared, extract_answer(Candidate(text=text), contract))

    assert found.evidence["right"] == 80
    assert found.score == 2 * 80 / 180
