"""Easy or hard, and what follows from it."""

from __future__ import annotations

from typing import get_args

import pytest

from app.group import Options, Parameters
from app.routing.plan import make_plan, seed_of
from app.settings import DefaultSettings
from tests.builders import a_ref, a_task
from verifiers.base import AnswerContract, AnswerKind
from verifiers.extract import guess_contract


def plan_for(prompt, *refs, contract=None, **task):
    return make_plan(
        a_task(prompt, **task),
        contract=contract or guess_contract(prompt, ""),
        verifiers=refs,
        policy="smol",
        defaults=DefaultSettings(),
    )


@pytest.mark.parametrize(
    "prompt",
    [
        "Hi",
        "hello there!",
        "Thanks a lot",
        "How are you today?",
        "Write a short poem about the sea.",
        "Tell me about the history of Rome.",
        "",
    ],
)
def test_small_talk_and_what_nobody_can_check_get_one_sample(prompt):
    plan = plan_for(prompt)

    assert (plan.route, plan.first_round, plan.cap, plan.live) == ("easy", 1, 1, True)


@pytest.mark.parametrize(
    "prompt",
    [
        "What is 17 * 24?",
        "Tom has 5 apples and buys 7 more. How many apples does Tom have?",
        "Which is a prime? (A) 4 (B) 7 (C) 9 (D) 12",
    ],
)
def test_what_can_be_counted_and_looks_hard_is_voted_on(prompt):
    plan = plan_for(prompt)

    assert (plan.route, plan.first_round, plan.cap, plan.live) == ("hard", 3, 16, False)


def test_the_score_is_the_logistic_sum_of_its_reasons():
    plan = plan_for("What is 17 * 24?")
    total = sum(reason.contribution for reason in plan.reasons)

    assert plan.difficulty == pytest.approx(1 / (1 + 2.718281828459045**-total), abs=1e-3)
    assert plan.difficulty >= plan.threshold


def test_an_easy_form_check_starts_with_one_sample_and_may_draw_more():
    plan = plan_for("Invent a person.", a_ref(), contract=AnswerContract(kind="json"))

    assert (plan.route, plan.first_round, plan.cap, plan.live) == ("easy", 1, 16, False)


@pytest.mark.parametrize(("effort", "cap"), [("low", 8), ("medium", 16), ("high", 40)])
def test_effort_sets_the_cap_and_n_replaces_it(effort, cap):
    by_effort = plan_for("What is 17 * 24?", options=Options(effort=effort))
    by_n = plan_for("What is 17 * 24?", options=Options(effort=effort, n=5))

    assert (by_effort.cap, by_n.cap) == (cap, 5)


def test_always_votes_on_what_looks_easy_if_it_can_be_counted():
    prompt = "Which city is the capital of Australia? Answer with the city only."

    assert plan_for(prompt, options=Options(mode="always")).route == "hard"
    assert plan_for("Hi", options=Options(mode="always")).cap == 1


def test_off_draws_just_the_choices_with_the_clients_own_parameters():
    plan = plan_for(
        "What is 17 * 24?",
        options=Options(mode="off"),
        choices=2,
        parameters=Parameters(temperature=0.1, top_p=0.5),
    )

    assert (plan.route, plan.first_round, plan.cap) == ("off", 2, 2)
    assert (plan.temperature, plan.top_p) == (0.1, 0.5)


def test_a_low_temperature_is_not_a_request_for_equal_samples():
    """LlamaIndex sends 0.1 by default."""
    plan = plan_for("What is 17 * 24?", parameters=Parameters(temperature=0.1, top_p=0.5))

    assert (plan.temperature, plan.top_p) == (0.7, None)


def test_the_clients_seed_is_used_and_else_the_trace_decides():
    assert plan_for("Hi", parameters=Parameters(seed=7)).seed == 7
    assert plan_for("Hi").seed == seed_of(a_task().trace_id)
    assert 0 <= seed_of("anything") < 2**31


@pytest.mark.parametrize("kind", get_args(AnswerKind))
def test_every_kind_of_answer_has_a_plan(kind):
    """A kind without a weight would be a 500 on its first request."""
    assert plan_for("Is it?", a_ref(), contract=AnswerContract(kind=kind)).difficulty > 0
