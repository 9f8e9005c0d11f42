"""What a route that learns is good for, on planted traffic through the product's own plans and
votes: fewer samples, answers as right, and the way back when the traffic changes."""

from __future__ import annotations

import statistics

import pytest

from app.routing.gate import MIN_LABELS
from bench.router_traffic import LEARN_EVERY, Gateway, planted

LONG = MIN_LABELS + 500


@pytest.fixture(scope="module")
def lived():
    """The same traffic, answered by a gateway that learns and by one that does not."""
    pair = Gateway(learns=True, checked=False), Gateway(learns=False, checked=False)
    return [
        tuple(gateway.answer(task) for gateway in pair)
        for task in planted(LONG, seed=4, p_easy=1.0)
    ]


def test_nothing_changes_before_the_score_may_decide(lived):
    before = [pair for pair in lived if pair[0].standing != "learned"]

    assert len(before) >= MIN_LABELS
    assert all((a.samples, a.is_right) == (b.samples, b.is_right) for a, b in before)


def test_then_a_third_is_sampled_once_and_no_answer_is_lost(lived):
    after = [pair for pair in lived if pair[0].standing == "learned"]
    once = [a for a, _ in after if a.route == "easy"]

    assert len(after) >= LONG - MIN_LABELS - 2 * LEARN_EVERY
    assert 0.2 < len(once) / len(after) < 0.45
    assert not any(a.is_hard for a in once)
    assert {a.samples for a in once} == {1}
    assert statistics.fmean(a.is_right for a, _ in after) >= statistics.fmean(
        b.is_right for _, b in after
    )
    # A third of the tasks at one sample for three, one in twenty at eight.
    saved = 1 - sum(a.samples for a, _ in after) / sum(b.samples for _, b in after)
    assert saved > 0.05


def test_one_in_twenty_goes_on_telling_what_one_sample_would_have_missed(lived):
    explored = [a for a, _ in lived if a.explored]

    assert {a.samples for a in explored if not a.is_hard} >= {8}
    assert {a.is_hard for a in explored} == {True, False}


def test_where_a_verifier_looks_fewer_samples_are_asked_for_and_none_is_wrong():
    pair = Gateway(learns=True, checked=True), Gateway(learns=False, checked=True)
    after = []
    for task in planted(MIN_LABELS + 300, seed=5):
        learning, still = (gateway.answer(task) for gateway in pair)
        if learning.standing == "learned":
            after.append((learning, still))

    assert len(after) >= 250
    assert all(a.is_right for a, _ in after)
    assert sum(a.asked for a, _ in after) < 0.95 * sum(b.asked for _, b in after)


def test_when_the_model_gets_worse_everything_is_voted_on_again():
    gateway = Gateway(learns=True, checked=True)
    for task in planted(MIN_LABELS + 100, seed=6):
        gateway.answer(task)
    assert gateway.standing == "learned"

    worse = planted(150, seed=7, p_easy=0.4, p_hard=0.3)
    lived = [gateway.answer(task) for task in worse]

    assert gateway.standing == "drift"
    assert {each.route for each in lived[-LEARN_EVERY:]} == {"hard"}


def test_a_promoted_policy_is_voted_on_from_its_first_answer():
    gateway = Gateway(learns=True, checked=False)
    for task in planted(MIN_LABELS + 100, seed=8, p_easy=1.0):
        gateway.answer(task)

    lived = [gateway.answer(task, policy="policy-2") for task in planted(60, seed=9)]

    assert {each.standing for each in lived} == {"promotion"}
    assert {each.route for each in lived} == {"hard"}
