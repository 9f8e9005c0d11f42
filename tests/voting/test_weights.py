"""When a scorer may weigh votes, and what they weigh then."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.group import Tally
from app.plan import Draw, VoteWeights
from app.sample import Scored
from app.voting.confidence import evidence_of, score
from app.voting.decide import decide
from app.voting.scorers import LEAST, MOST, value_of, weigh
from app.voting.stop import Stop, next_step, settled_by
from app.voting.tally import tally_votes
from app.voting.weights import (
    MIN_QUESTIONS,
    Contested,
    best_weights,
    contested,
    fit_weights,
    within_question_auc,
)
from tests.builders import a_group, a_plan, a_scored, a_verdict

LONGER = VoteWeights(scorer="length", slope=2.0, auc=0.8, questions=50)


def of_length(index: int, key: str | None, tokens: int, **more) -> Scored:
    return a_scored(index, key, completion_tokens=tokens, **more)


def weighed(*scored: Scored, weights: VoteWeights = LONGER, **plan):
    """A group whose votes are weighed."""
    group = a_group(*scored, plan=a_plan(weights=weights, **plan))
    return group.with_tally(tally_votes(group.current, weights))


def apart(gap: float, *, noise: float = 1.0, questions: int = 60, seed: int = 1) -> list[Contested]:
    """Questions whose right samples score higher by `gap` on average."""
    rng = random.Random(seed)
    found = []
    for _ in range(questions):
        level = rng.gauss(0, 5)  # questions differ more than samples do, and that must not matter
        right = tuple(level + gap + rng.gauss(0, noise) for _ in range(3))
        found.append(Contested(right=right, wrong=(level + rng.gauss(0, noise),)))
    return found


def test_the_auc_counts_pairs_within_a_question():
    one = Contested(right=(3.0, 1.0), wrong=(2.0,))
    tied = Contested(right=(2.0,), wrong=(2.0,))
    sure = Contested(right=(9.0,), wrong=(2.0, 3.0))

    assert (one.auc, tied.auc, sure.auc) == (0.5, 0.5, 1.0)
    assert within_question_auc([one, tied, sure]) == pytest.approx(2 / 3)


def test_a_scorer_earns_weights_by_telling_right_from_wrong():
    weights = fit_weights("length", apart(1.5))

    assert weights is not None
    assert (weights.scorer, weights.questions) == ("length", 60)
    assert weights.auc > 0.8
    assert weights.slope == pytest.approx(1.5, abs=0.6)  # the gap over the noise's variance


def test_a_scorer_that_is_always_wrong_is_turned_round():
    weights = fit_weights("length", apart(-1.5))

    assert weights is not None
    assert weights.slope < -0.9
    assert weights.auc > 0.8


@pytest.mark.parametrize(
    "questions",
    [
        apart(1.5, questions=MIN_QUESTIONS - 1),
        apart(0.2, questions=400),
        apart(0.0, questions=400),
        [Contested(right=(1.0,), wrong=(1.0,))] * 99,
        [],
    ],
    ids=["few", "weak", "chance", "constant", "none"],
)
def test_a_scorer_that_has_not_earned_weights_has_none(questions):
    assert fit_weights("length", questions) is None


def test_luck_earns_no_weights():
    """Of two hundred useless scorers on as few questions as may do, hardly one is believed."""
    found = [fit_weights("length", apart(0.0, questions=25, seed=s)) for s in range(200)]

    assert sum(weights is not None for weights in found) <= 4


def test_the_better_scorer_weighs():
    seen = zip(apart(1.0), apart(3.0), apart(0.0), strict=True)
    questions = [{"length": a, "logprob": b, "verifiers": c} for a, b, c in seen]

    weights = best_weights(questions)

    assert weights is not None
    assert (weights.scorer, weights.questions) == ("logprob", 60)
    assert best_weights([{}] * 99) is None


def test_what_scorers_know_of_a_group():
    """A score of a judge counts; a decisive verdict is proof, and no opinion to weigh by."""
    judge = a_verdict("pass", role="judge", decisive=False, score=0.25)
    scored = a_scored(
        0, "42", judge, a_verdict("fail"), completion_tokens=20, logprobs=(-1.0, -3.0)
    )
    unknown = a_scored(1, "41", completion_tokens=0)

    assert value_of("length", scored) == pytest.approx(math.log(20))
    assert value_of("logprob", scored) == -2.0
    assert value_of("verifiers", scored) == 0.25
    assert [value_of(s, unknown) for s in ("length", "logprob", "verifiers")] == [None] * 3


def test_only_questions_on_which_samples_disagreed_teach():
    split = a_group(of_length(0, "42", 9), of_length(1, "41", 3), of_length(2, None, 5))
    agreed = a_group(of_length(0, "42", 9), of_length(1, "42", 3))

    assert contested(split, "42") == {
        "length": Contested(right=(math.log(9),), wrong=(math.log(3),))
    }
    assert contested(agreed, "42") == {}


def test_a_longer_working_outweighs_two_short_guesses():
    """Where the route has shown that length tells: two tokens against a hundred."""
    group = weighed(of_length(0, "41", 2), of_length(1, "41", 3), of_length(2, "42", 100))

    assert group.tally == Tally(
        votes=(("42", 1), ("41", 2)),
        leader="42",
        runner_up="41",
        margin=-1,
        weights=(("42", 2.0), ("41", 1.0)),
    )
    assert group.tally.lead == 1.0
    assert decide(group, "cap").winner == 2


def test_without_weights_the_lead_is_the_margin():
    assert tally_votes([a_scored(0, "42"), a_scored(1, "42"), a_scored(2, "41")]).lead == 1


def test_a_sample_like_the_others_is_one_vote_and_an_unknown_one_too():
    voters = [of_length(0, "42", 7), of_length(1, "41", 7), of_length(2, "42", 0)]

    assert weigh(voters, LONGER) == [1.0, 1.0, 1.0]


def test_proven_samples_weigh_the_same():
    proven = [of_length(0, "42", 9), of_length(1, "42", 900)]
    group = weighed(*(a_scored(i, "42", a_verdict("pass")) for i in range(2)), *proven)

    assert (group.tally.votes, group.tally.weights) == ((("42", 2),), ())


lengths = st.integers(1, 2000)
slopes = st.floats(-9, 9).map(
    lambda slope: VoteWeights(scorer="length", slope=slope, auc=0.7, questions=30)
)


@given(st.lists(lengths, min_size=3, max_size=8), slopes)
def test_three_or_more_that_all_agree_weigh_at_least_three(tokens, weights):
    """So a vote without dissent is settled as soon as without weights."""
    group = weighed(*(of_length(i, "42", n) for i, n in enumerate(tokens)), weights=weights)

    assert group.tally.lead >= 3
    assert next_step(group, seed=0) == Stop(reason="margin")


@given(st.lists(st.tuples(st.sampled_from("12"), lengths), max_size=5), slopes)
def test_the_weighed_tally_does_not_depend_on_the_order_of_arrival(said, weights):
    scored = [of_length(i, key, tokens) for i, (key, tokens) in enumerate(said)]

    assert len({tally_votes(order, weights) for order in itertools.permutations(scored)}) <= 1


@given(st.lists(lengths, max_size=8), slopes)
def test_no_vote_weighs_under_a_half_or_over_two(tokens, weights):
    voters = [of_length(i, "42", n) for i, n in enumerate(tokens)]

    assert all(LEAST <= weight <= MOST for weight in weigh(voters, weights))


def test_the_margin_is_a_lead_in_weighed_votes():
    """Four against one lead by three heads, and by nothing when the one is ten times as long."""
    short = [of_length(i, "41", 10) for i in range(4)]
    group = weighed(*short, of_length(4, "42", 100))

    assert (abs(group.tally.margin), group.tally.lead) == (3, 0.0)
    assert settled_by(group, in_flight=0) is None
    assert isinstance(next_step(group, seed=0), Draw)


def test_nobody_is_out_of_reach_where_votes_are_weighed():
    """A long sample still to come would make those before it lighter."""
    alike = [of_length(i, "41", 10) for i in range(2)]

    assert settled_by(weighed(*alike, cap=3), in_flight=1) is None
    assert settled_by(a_group(*alike, plan=a_plan(cap=3)), in_flight=1) == "ahead"


def test_the_evidence_of_a_weighed_vote_is_about_its_leader():
    group = weighed(of_length(0, "41", 2), of_length(1, "41", 3), of_length(2, "42", 100))

    evidence = evidence_of(group)

    assert (evidence.a, evidence.b) == (1, 2)
    assert math.isfinite(score(evidence))
