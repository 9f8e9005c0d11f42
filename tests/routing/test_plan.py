"""Easy or hard, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from app.group import Decision
from app.plan import VoteWeights
from app.routing.plan import fallback_plan, falls_short, make_plan, seed_of, with_weights
from app.routing.routes import MatchedRoute
from app.settings import DefaultSettings
from app.task import Options, Parameters
from tests.builders import a_group, a_plan, a_ref, a_scored, a_task
from verifiers.base import AnswerContract, AnswerKind
from verifiers.extract import guess_contract


def plan_for(prompt, *refs, contract=None, route=None, no_programs="", **task):
    return make_plan(
        a_task(prompt, **task),
        contract=contract or guess_contract(prompt, ""),
        verifiers=refs,
        policy="smol",
        defaults=DefaultSettings(),
        route=route,
        no_programs=no_programs,
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


@pytest.mark.parametrize(("n", "margin"), [(2, 2), (3, 2), (4, 3), (5, 3), (16, 3)])
def test_a_small_budget_asks_for_the_lead_that_nobody_can_overtake(n, margin):
    plan = plan_for("What is 6 * 7?", options=Options(n=n))

    assert (plan.cap, plan.margin, plan.first_round) == (n, margin, margin)


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


COUNTED = "What is 17 * 24?"
CASCADE = MatchedRoute(name="sums", fallback="big", max_error=0.05, reuse="near")


def test_the_plan_tells_which_route_was_taken_and_what_it_asks():
    plan = plan_for(COUNTED, route=CASCADE)

    assert (plan.route_name, plan.fallback, plan.max_error, plan.reuse) == (
        "sums",
        "big",
        0.05,
        "near",
    )
    assert plan_for(COUNTED).route_name == "default"


def test_a_first_stage_leaves_half_of_the_time_to_its_fallback():
    whole = Options().deadline_ms

    assert plan_for(COUNTED, route=CASCADE).deadline_ms == whole // 2
    assert plan_for(COUNTED).deadline_ms == whole
    assert plan_for("Write a poem.", route=CASCADE).deadline_ms == whole
    assert plan_for(COUNTED, route=CASCADE, options=Options(mode="off")).deadline_ms == whole


def test_the_fallback_starts_anew_with_another_model_and_all_the_time_that_is_left():
    first = a_group(a_scored(0, "41"), plan=plan_for(COUNTED, a_ref(), route=CASCADE))
    plan = fallback_plan(first, engine="large")

    assert (plan.engine, plan.fallback, plan.policy) == ("large", "", "")
    assert plan.deadline_ms == first.task.options.deadline_ms
    assert plan.seed != first.plan.seed
    assert (plan.cap, plan.verifiers, plan.route_name) == (16, first.plan.verifiers, "sums")


@pytest.mark.parametrize(
    ("decided", "falls"),
    [
        ({"status": "verified", "stop_reason": "verified"}, False),
        ({"status": "agreed", "stop_reason": "margin"}, False),
        ({"status": "agreed", "stop_reason": "cap"}, False),
        ({"status": "unverified", "stop_reason": "single"}, False),
        ({"status": "unverified", "stop_reason": "cap"}, True),
        ({"status": "held", "stop_reason": "cap"}, True),
        ({"status": "unverified", "stop_reason": "ahead"}, True),
        ({"status": "unverified", "stop_reason": "samples"}, True),
        ({"status": "unverified", "stop_reason": "deadline"}, True),
        ({"status": "unverified", "stop_reason": "engine", "winner": None}, True),
        ({"status": "unverified", "stop_reason": "margin", "abstained": True}, True),
        ({"status": "unverified", "stop_reason": "single", "abstained": True}, True),
    ],
)
def test_a_stage_falls_short_when_its_vote_settled_nothing_or_is_not_sure_enough(decided, falls):
    group = a_group(a_scored(0, "41"), plan=plan_for(COUNTED, route=CASCADE))
    group = group.with_decision(Decision(**{"winner": 0, **decided}))

    assert falls_short(group) is falls
    assert not falls_short(replace(group, plan=replace(group.plan, fallback="")))


def test_where_nothing_can_be_decided_only_an_engine_that_gives_nothing_falls_short():
    unsure = Decision(status="unverified", winner=0, stop_reason="cap", abstained=True)
    nothing = Decision(status="unverified", winner=None, stop_reason="engine")
    poem = plan_for("Write a poem.", route=CASCADE)
    off = plan_for(COUNTED, route=CASCADE, options=Options(mode="off"))
    for plan in (poem, off):
        assert not falls_short(a_group(a_scored(0, None), plan=plan).with_decision(unsure))
        assert falls_short(a_group(plan=plan).with_decision(nothing))


def test_a_sample_whose_pieces_were_sent_cannot_be_taken_back():
    cut = a_scored(0, None, finish_reason=None)
    nothing = Decision(status="unverified", winner=None, stop_reason="engine")
    plan = plan_for("Write a poem.", route=replace(CASCADE, max_error=None))

    assert plan.live
    assert not falls_short(a_group(cut, plan=plan).with_decision(nothing))


@pytest.mark.parametrize(
    "strict",
    [
        {"options": Options(on_unverified="error")},
        {"options": Options(on_unverified="hold")},
        {"options": Options(mode="off", on_unverified="hold")},
        {"route": MatchedRoute(name="promised", max_error=0.05)},
    ],
    ids=["error", "hold", "off", "promise"],
)
def test_nothing_is_shown_before_a_decision_that_may_withhold_it(strict):
    """The text of a live sample cannot be called back when the reply turns out to be an error."""
    plan = plan_for("Write a short poem about the sea.", **strict)

    assert (plan.cap, plan.live) == (1, False)


def test_programs_are_asked_for_where_one_can_compute_the_answer():
    plan = plan_for(COUNTED, options=Options(rule="two_kinds"))

    assert plan.rule == "two_kinds"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"no_programs": "sandbox_unavailable"}, "sandbox_unavailable"),
        ({"contract": AnswerContract(kind="code")}, "the answer is code"),
        ({"contract": AnswerContract(kind="json")}, "the answer is json"),
        ({"tools": ({"type": "function"},)}, "the form of the reply is given"),
        ({"response_format": {"type": "json_object"}}, "the form of the reply is given"),
        ({"choices": 2}, "several choices are wanted"),
        ({"options": Options(rule="two_kinds", n=1, mode="always")}, "one sample"),
        ({"options": Options(rule="two_kinds", mode="off")}, "one sample"),
    ],
)
def test_elsewhere_the_rule_of_two_kinds_is_that_of_one_and_the_plan_says_why(given, why):
    given = {"options": Options(rule="two_kinds", mode="always"), **given}
    plan = plan_for(COUNTED, **given)

    assert plan.rule == "margin"
    assert [r.value for r in plan.reasons if r.feature == "no_programs"] == [why]


WEIGHTS = VoteWeights(scorer="length", slope=3.0, auc=0.8, questions=60)


@pytest.mark.parametrize(
    ("plan", "weighed"),
    [
        ({"rule": "margin"}, True),
        ({"rule": "two_kinds"}, True),
        ({"rule": "adaptive"}, False),
        ({"rule": "certified"}, False),
        ({"rule": "exact"}, False),
        ({"rule": "margin", "route": "easy"}, False),
    ],
)
def test_votes_weigh_only_where_a_rule_asks_for_a_lead_in_votes(plan, weighed):
    found = with_weights(a_plan(**plan), WEIGHTS)

    assert (found.weights is not None) == weighed
    assert with_weights(a_plan(**plan), None) == a_plan(**plan)
