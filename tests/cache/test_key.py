"""Equal keys mean the same question, asked of the same model, checked alike."""

from __future__ import annotations

import dataclasses

import pytest

from app.cache.key import cache_keys, may_come_from, tenant_tag
from app.task import Options, Parameters
from tests.builders import a_plan, a_ref, a_task

FORM = {"type": "json_schema", "json_schema": {"name": "d", "schema": {"type": "object"}}}


def keys(task=None, plan=None, extractor="1"):
    return cache_keys(task or a_task(), plan or a_plan(), extractor_version=extractor)


ASKED = [
    {"task": a_task("What is 6 * 8?")},
    {"task": a_task("What is 6 *  7?")},
    {"task": a_task(tenant="other")},
    {"task": a_task(alias="other")},
    {"task": a_task(cache_namespace="x")},
    {"task": a_task(tools=({"type": "function", "function": {"name": "f"}},))},
    {"task": a_task(tool_choice="required")},
    {"task": a_task(parallel_tool_calls=False)},
    {"task": a_task(response_format={"type": "json_object"})},
    {"task": a_task(response_format=FORM)},
    {"task": a_task(choices=2)},
    {"task": a_task(parameters=Parameters(max_tokens=5))},
    {"task": a_task(parameters=Parameters(stop=("\n",)))},
    {"task": a_task(parameters=Parameters(seed=5))},
    {"task": a_task(parameters=Parameters(logprobs=True))},
    {"task": a_task(parameters=Parameters(extra={"top_k": 3}))},
    {"plan": a_plan(engine="other")},
]
ANSWERED = [
    {"plan": a_plan(policy="policy-2")},
    {"plan": a_plan(fallback="big")},
    {"plan": a_plan(verifiers=(a_ref(),))},
    {"plan": a_plan(verifiers=(dataclasses.replace(a_ref(), version="2"),))},
    {"plan": a_plan(verifiers=(dataclasses.replace(a_ref(), config_hash="1" * 12),))},
    {"extractor": "2"},
]
SPENT = [{"plan": a_plan(cap=40)}, {"plan": a_plan(deadline_ms=5)}, {"plan": a_plan(seed=2)}]
JUDGED = [
    {"plan": a_plan(rule="fixed")},
    {"plan": a_plan(route="easy")},
    {"plan": a_plan(route_name="shop")},
    {"plan": a_plan(max_error=0.1)},
    {"task": a_task(options=Options(on_unverified="hold"))},
]


@pytest.mark.parametrize("changed", [*ASKED, *ANSWERED], ids=str)
def test_whatever_may_change_the_answer_changes_the_key(changed):
    others = [keys().exact, *(keys(**other).exact for other in ANSWERED if other is not changed)]

    assert keys(**changed).exact not in others
    assert keys(**changed).attempt != keys().attempt


@pytest.mark.parametrize("changed", [*SPENT, *JUDGED], ids=str)
def test_a_verified_answer_is_one_however_it_was_drawn(changed):
    assert keys(**changed).exact == keys().exact


@pytest.mark.parametrize("changed", JUDGED, ids=str)
def test_an_unverified_one_depends_on_how_it_was_judged(changed):
    assert keys(**changed).attempt != keys().attempt


@pytest.mark.parametrize("changed", SPENT, ids=str)
def test_budgets_are_compared_and_are_no_part_of_a_key(changed):
    assert keys(**changed).attempt == keys().attempt


@pytest.mark.parametrize("changed", ANSWERED, ids=str)
def test_the_question_stays_when_models_and_verifiers_change(changed):
    assert keys(**changed).question == keys().question


@pytest.mark.parametrize("changed", ASKED, ids=str)
def test_another_question_is_another(changed):
    assert keys(**changed).question != keys().question


def test_the_trace_and_the_time_do_not_change_the_key():
    later = a_task(trace_id="chatcmpl-2", request_id="req_2", received_at=1.0)

    assert keys(later) == keys()


def test_every_key_begins_with_its_tenant():
    found = keys(a_task(tenant="ours"), a_plan(reuse="near"))

    for key in (found.exact, found.attempt, found.question, found.scope):
        assert key.startswith(tenant_tag("ours"))
        assert len(key) == 64


def test_two_ways_to_write_the_same_character_are_one_question():
    assert keys(a_task("caf\u00e9")) == keys(a_task("cafe\u0301"))


def test_integers_of_any_size_keep_their_digits():
    def with_default(number: int):
        return a_task(tools=({"type": "function", "function": {"default": number}},))

    assert keys(with_default(2**70)).exact != keys(with_default(2**70 + 1)).exact


def test_only_the_last_prompt_is_left_out_of_the_scope_of_other_wordings():
    near = a_plan(reuse="near")
    before = {"role": "user", "content": "Hello"}

    def scope(*messages, **changes):
        return keys(a_task(messages=messages, **changes), near).scope

    one, other = ({"role": "user", "content": text} for text in ("Add 1 and 2", "add 1 and 2"))
    in_parts = {"role": "user", "content": [{"type": "text", "text": "Add 1 and 2"}]}
    assert scope(before, one) == scope(before, other)
    assert scope(one) != scope(before, one)
    assert scope(one) != scope(one, tenant="other")
    assert scope(in_parts) == scope({"role": "user", "content": [{"type": "text", "text": "x"}]})
    assert keys(a_task(), a_plan()).scope == ""


@pytest.mark.parametrize(
    ("older", "current", "may"),
    [
        ("policy-1", "policy-1", True),
        ("policy-1", "policy-2", True),
        ("policy-9", "policy-10", True),
        ("policy-2", "policy-1", False),
        ("smol", "policy-1", True),
        ("smol", "smol", True),
        ("policy-1", "smol", False),
        ("smol", "other", False),
    ],
)
def test_answers_go_from_older_policies_to_newer_ones_and_never_back(older, current, may):
    assert may_come_from(older, current) is may
