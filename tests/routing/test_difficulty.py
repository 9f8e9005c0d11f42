"""Who decides whether a task is hard, and what a plan says about it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from app.routing.difficulty import MOST_REASONS, find_difficulty
from app.routing.examples import DECIDES, router_of
from app.routing.plan import EXPLORED_SAMPLES, EXPLORED_SHARE, make_plan
from app.routing.routes import MatchedRoute
from app.settings import DefaultSettings
from app.task import Options
from tests.builders import a_ref, a_task
from tests.routing.planted import easy_prompt, features_of, hard_prompt
from tests.routing.test_model import ENOUGH, asked, planted, taught
from verifiers.base import AnswerContract

EASY = easy_prompt(random.Random(3))
HARD = hard_prompt(random.Random(3))


@pytest.fixture(scope="module")
def learned():
    return asked(taught(planted(ENOUGH)))


@pytest.fixture(scope="module")
def learned_checked():
    """What was learned where a decisive verifier looked."""
    lesson = planted(ENOUGH)
    return asked(taught(replace(e, features=replace(e.features, decisive=True)) for e in lesson))


@pytest.fixture(scope="module")
def shadow():
    return asked(taught(planted(100)))


def plan_for(prompt, learned, *refs, policy="smol", route=None, trace=0, **task):
    return make_plan(
        a_task(prompt, trace_id=f"chatcmpl-{trace}", **task),
        contract=AnswerContract(kind="number"),
        verifiers=refs,
        policy=policy,
        defaults=DefaultSettings(),
        route=route,
        learned=learned,
    )


def reasons(plan):
    return {reason.feature: reason.value for reason in plan.reasons}


def test_while_nothing_is_learned_the_first_round_is_the_probe():
    plan = plan_for(EASY, None)

    assert (plan.route, plan.first_round, router_of(plan)) == ("hard", 3, "cold")


def test_a_score_that_watches_is_shown_and_changes_nothing(shadow):
    cold, watched = plan_for(EASY, None), plan_for(EASY, shadow)

    assert router_of(watched) == "shadow"
    assert reasons(watched)["router_version"] == 1.0
    assert "expected_gain" in reasons(watched)
    assert (watched.route, watched.difficulty, watched.first_round, watched.threshold) == (
        cold.route,
        cold.difficulty,
        cold.first_round,
        cold.threshold,
    )


def test_a_score_that_decides_sends_the_easy_to_one_sample_and_votes_on_the_hard(learned):
    easy, hard = plan_for(EASY, learned), plan_for(HARD, learned)

    assert (easy.route, easy.first_round, easy.cap) == ("easy", 1, 16)
    assert (hard.route, hard.first_round, hard.cap) == ("hard", 3, 16)
    assert easy.difficulty < easy.threshold <= hard.difficulty
    assert router_of(easy) == router_of(hard) == DECIDES


def test_what_it_learned_is_among_the_reasons_weightiest_first(learned):
    told = [r for r in plan_for(HARD, learned).reasons if r.contribution]

    assert len(told) <= MOST_REASONS
    assert [abs(r.contribution) for r in told] == sorted(
        (abs(r.contribution) for r in told), reverse=True
    )
    assert "text" in [r.feature for r in told]


def test_no_reason_gives_away_the_words_of_a_prompt(learned):
    """Names of reasons are kept at every content level; only their values are hidden."""
    for reason in plan_for(HARD, learned).reasons:
        assert not set(reason.feature.lower().split("_")) & {"circle", "neighbours", "modulo"}


def test_after_a_promotion_the_score_by_hand_decides(learned):
    plan = plan_for(EASY, learned, policy="policy-2")

    assert (plan.route, router_of(plan)) == ("hard", "promotion")


@pytest.mark.parametrize(
    "promised",
    [
        {"options": Options(on_unverified="error")},
        {"options": Options(on_unverified="hold")},
        {"route": MatchedRoute(name="default", max_error=0.05)},
        {"route": MatchedRoute(name="default", fallback="big")},
    ],
)
def test_who_is_promised_more_than_one_sample_can_give_keeps_the_vote(
    learned, learned_checked, promised
):
    plan = plan_for(EASY, learned, **promised)
    proven = plan_for(EASY, learned_checked, a_ref(), **promised)

    assert (plan.route, router_of(plan)) == ("hard", "shadow")
    assert reasons(plan)["vote_kept"]
    assert (proven.route, router_of(proven)) == ("easy", DECIDES)


@pytest.mark.parametrize(("mode", "route"), [("always", "hard"), ("off", "off")])
def test_whoever_says_how_to_answer_is_not_second_guessed(learned, mode, route):
    plan = plan_for(EASY, learned, options=Options(mode=mode))

    assert (plan.route, router_of(plan)) == (route, None)


def test_small_talk_and_what_nobody_can_check_are_no_business_of_the_score(learned):
    assert find_difficulty(features_of("Hi!"), learned, "smol").standing == "by_hand"
    plan = make_plan(
        a_task("Tell me about the sea."),
        contract=AnswerContract(),
        verifiers=(),
        policy="smol",
        defaults=DefaultSettings(),
        learned=learned,
    )
    assert (plan.cap, router_of(plan)) == (1, None)


def test_one_in_twenty_is_drawn_deep_whatever_the_score_says(learned):
    plans = [plan_for(EASY, learned, trace=number) for number in range(1500)]
    explored = [plan for plan in plans if plan.explored]

    assert len(explored) / len(plans) == pytest.approx(EXPLORED_SHARE, abs=0.015)
    assert {(p.route, p.rule, p.first_round, p.cap) for p in explored} == {
        ("hard", "fixed", EXPLORED_SAMPLES, EXPLORED_SAMPLES)
    }
    assert {(p.route, p.rule) for p in plans if not p.explored} == {("easy", "margin")}


def test_which_ones_depends_on_the_trace_only(learned):
    deep = [n for n in range(300) if plan_for(EASY, learned, trace=n).explored]

    assert deep == [n for n in range(300) if plan_for(HARD, learned, trace=n).explored]
    assert deep


def test_what_looks_hard_loses_nothing_by_being_explored(learned):
    """Eight and no more would be worse than the vote that it gets anyway."""
    deep = next(n for n in range(300) if plan_for(HARD, learned, trace=n).explored)
    plan = plan_for(HARD, learned, trace=deep)

    assert (plan.rule, plan.first_round, plan.cap) == ("margin", EXPLORED_SAMPLES, 16)


def test_nothing_is_explored_while_the_score_watches_or_against_the_clients_bound(learned, shadow):
    bound = Options(n=EXPLORED_SAMPLES - 1)

    assert not any(plan_for(EASY, shadow, trace=n).explored for n in range(300))
    assert not any(plan_for(EASY, learned, trace=n, options=bound).explored for n in range(300))
