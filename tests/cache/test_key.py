"""Equal keys mean the same question, asked of the same model, checked alike."""

from __future__ import annotations

import dataclasses

import pytest

from app.cache.key import cache_key
from app.group import Parameters
from tests.builders import a_plan, a_ref, a_task


def key(task=None, plan=None, extractor="1") -> str:
    return cache_key(task or a_task(), plan or a_plan(), extractor_version=extractor)


@pytest.mark.parametrize(
    "changed",
    [
        {"task": a_task("What is 6 * 8?")},
        {"task": a_task("What is 6 *  7?")},
        {"task": a_task(tenant="other")},
        {"task": a_task(alias="other")},
        {"task": a_task(cache_namespace="x")},
        {"task": a_task(tools=({"type": "function", "function": {"name": "f"}},))},
        {"task": a_task(response_format={"type": "json_object"})},
        {"task": a_task(choices=2)},
        {"task": a_task(parameters=Parameters(max_tokens=5))},
        {"task": a_task(parameters=Parameters(seed=5))},
        {"task": a_task(parameters=Parameters(logprobs=True))},
        {"task": a_task(parameters=Parameters(extra={"top_k": 3}))},
        {"plan": a_plan(policy="policy-2")},
        {"plan": a_plan(cap=40)},
        {"plan": a_plan(verifiers=(a_ref(),))},
        {"plan": a_plan(verifiers=(dataclasses.replace(a_ref(), version="2"),))},
        {"extractor": "2"},
    ],
    ids=str,
)
def test_whatever_may_change_the_answer_changes_the_key(changed):
    seen = {key(), key(plan=a_plan(verifiers=(a_ref(),)))}
    if changed == {"plan": a_plan(verifiers=(a_ref(),))}:
        seen = {key()}

    assert key(**changed) not in seen


def test_the_trace_and_the_time_do_not_change_the_key():
    later = a_task(trace_id="chatcmpl-2", request_id="req_2", received_at=1.0)

    assert key(later) == key()


def test_two_ways_to_write_the_same_character_are_one_question():
    assert key(a_task("caf\u00e9")) == key(a_task("cafe\u0301"))


def test_integers_of_any_size_keep_their_digits():
    def with_default(number: int):
        return a_task(tools=({"type": "function", "function": {"default": number}},))

    assert key(with_default(2**70)) != key(with_default(2**70 + 1))
