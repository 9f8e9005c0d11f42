"""What may be kept of a group, what an entry holds of it, and what comes back."""

from __future__ import annotations

import dataclasses

import pytest

from app.cache.entry import (
    NotAnEntry,
    entry_from_bytes,
    entry_to_bytes,
    group_from_entry,
    is_refuted,
    may_be_cached,
    to_cache_entry,
)
from app.group import CacheRecord, Failure, Group, Usage
from app.task import Options
from app.voting.decide import decide
from tests.builders import a_group, a_plan, a_ref, a_scored, a_task, a_verdict
from tests.cache.entries import NOW, a_negative, a_trace, an_entry, keys, refuted, verified
from verifiers.base import VerifierSpec

HIDDEN = VerifierSpec(use="unit_tests", options={"tests": "assert secret", "hidden": True})


def test_only_a_verified_fresh_answer_may_be_cached():
    good = verified()
    agreed = dataclasses.replace(good.decision, status="agreed")
    hit = group_from_entry(an_entry(), a_task(), a_plan(), now=NOW + 1, coalesced=False)

    assert may_be_cached(good)
    assert not may_be_cached(good.with_decision(agreed))
    assert not may_be_cached(verified(options=Options(cache="off")))
    assert not may_be_cached(verified(options=Options(cache="read_only")))
    assert not may_be_cached(hit)


def test_an_answer_that_was_checked_anew_may_be_cached_again():
    record = CacheRecord(hit=True, key="k", source_trace_id=a_trace(1), reverified=True)

    assert may_be_cached(dataclasses.replace(verified(), cache=record))


@pytest.mark.parametrize("kept", [{"store": False}, {"content": "hash"}, {"content": "redacted"}])
def test_an_answer_is_not_kept_where_texts_are_not(kept):
    assert not may_be_cached(verified(**kept))
    assert not is_refuted(refuted(**kept))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda group: group.with_error(
            Failure(code="upstream_error", message="", status=502, where="engine")
        ),
        lambda group: group.with_degraded("samples"),
        lambda group: _stopped(group, "deadline"),
        lambda group: _judged(group, "error"),
        lambda group: _judged(group, "abstain"),
        lambda group: _judged(group, "fail", decisive=False),
        lambda group: group.with_decision(dataclasses.replace(group.decision, status="agreed")),
    ],
    ids=["engine", "degraded", "deadline", "error", "abstained", "nothing decisive", "agreed"],
)
def test_a_failure_is_noted_only_when_everything_worked_and_all_was_refuted(spoilt):
    assert is_refuted(refuted())
    assert not is_refuted(spoilt(refuted()))


def _stopped(group: Group, reason: str) -> Group:
    return group.with_decision(dataclasses.replace(group.decision, stop_reason=reason))


def _judged(group: Group, status: str, **verdict: bool) -> Group:
    last = a_scored(9, "40", a_verdict(status, **verdict))
    kept = group.scored if verdict.get("decisive", True) else ()
    return dataclasses.replace(group, scored=(*kept, last))


def test_an_entry_keeps_nothing_of_the_request():
    asked = {
        "options": Options(verifiers=(HIDDEN,)),
        "metadata": {"customer": "Ann"},
        "tools": ({"type": "function", "function": {"name": "f"}},),
        "user_hash": "u",
    }
    told = entry_to_bytes(an_entry("Is Ann in?", **asked))

    for word in (b"Is Ann in", b"secret", b"customer", b'"f"'):
        assert word not in told


def test_an_entry_keeps_only_what_was_returned_and_nothing_to_train_on():
    sampled = a_scored(
        0, "42", a_verdict("pass"), token_ids=(1, 2), logprobs=(-0.1, -0.2), trainable=True
    )
    group = a_group(
        a_scored(1, "41", a_verdict("fail")), sampled, plan=a_plan(verifiers=(a_ref(),))
    )
    group = group.with_decision(decide(group, "verified"))
    kept = to_cache_entry(group, keys(), "verified", now=NOW).group.scored

    assert [scored.sample.text for scored in kept] == ["42"]
    assert (kept[0].sample.token_ids, kept[0].sample.logprobs) == (None, None)
    assert not kept[0].sample.trainable
    assert kept[0].verdicts == sampled.verdicts


@pytest.mark.parametrize("entry", [an_entry(), a_negative(), an_entry(source=an_entry(number=3))])
def test_an_entry_is_the_same_after_it_was_bytes(entry):
    assert entry_from_bytes(entry_to_bytes(entry)) == entry


@pytest.mark.parametrize("data", [b"", b"{}", b"[]\n", b"\xff\n{}", b'{"key": 1}\n{"task": 1}'])
def test_other_bytes_are_no_entry(data):
    with pytest.raises(NotAnEntry):
        entry_from_bytes(data)


def test_a_hit_is_a_group_of_its_own_that_cost_only_its_winner():
    task = a_task(trace_id=a_trace(5))
    hit = group_from_entry(an_entry(number=4), task, a_plan(), now=NOW + 4, coalesced=False)

    assert hit.trace_id == task.trace_id
    assert hit.winner.sample.text == "42"
    assert hit.cache.source_trace_id == a_trace(4)
    assert (hit.cache.hit, hit.cache.age_s, hit.cache.negative) == (True, 4.0, False)
    assert hit.usage() == Usage(prompt_tokens=10, completion_tokens=5)


def test_a_hit_names_the_model_that_answered():
    big = a_plan(verifiers=(a_ref(),), engine="big", policy="giant")
    hit = group_from_entry(an_entry(plan=big), a_task(), a_plan(), now=NOW, coalesced=False)

    assert (hit.plan.engine, hit.plan.policy) == ("big", "giant")


def test_a_cascade_is_known_by_the_model_that_was_asked_first():
    first = refuted().next_stage(a_plan(policy="giant", verifiers=(a_ref(),)))
    second = a_scored(7, "42", a_verdict("pass"), stage=1)
    group = dataclasses.replace(first, scored=(*first.scored, second))
    group = group.with_decision(decide(group, "verified"))
    entry = to_cache_entry(group, keys(), "verified", now=NOW)

    assert entry.policy == "smol"
    assert entry.group.plan.policy == "giant"
    assert [scored.sample.text for scored in entry.group.current] == ["42"]


def test_a_failure_that_is_told_again_says_so():
    again = group_from_entry(a_negative(), a_task(), a_plan(), now=NOW, coalesced=False)
    shared = group_from_entry(a_negative(), a_task(), a_plan(), now=NOW, coalesced=True)

    assert (again.decision.status, again.cache.negative) == ("unverified", True)
    assert (shared.cache.coalesced, shared.cache.negative) == (True, False)
