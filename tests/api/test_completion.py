"""Group → completion, chunks, headers: views compared with values."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from app.api.completion import (
    Chunks,
    Seen,
    error_of,
    header_value,
    response_headers,
    to_completion,
    verification_of,
)
from app.group import CacheRecord, Decision, Failure, Group
from app.sample import Call, Delta
from app.task import Options, Parameters
from tests.builders import TRACE_ID, a_group, a_plan, a_sample, a_scored, a_task, a_verdict
from verifiers.base import ToolCall

DECIDED = Decision(status="verified", winner=0, returned=(0,), stop_reason="decisive")
CALL = Call(
    index=0, round=1, engine="main", n=3, seed=1, started_ms=1, finished_ms=2, prompt_tokens=10
)


def decided(*scored: Any, decision: Decision = DECIDED, **changes: Any) -> Group:
    scored = scored or (a_scored(0, "42", a_verdict("pass")),)
    group = a_group(*scored, task=a_task(**changes)).with_calls(CALL)
    return group.with_decision(decision)


def data_of(chunks: Any) -> list[Any]:
    """Decoded payloads; every line of the stream must be one."""
    text = b"".join(chunks).decode()
    assert text.endswith("\n\n")
    lines = text[:-2].split("\n\n")
    return [line if line == "data: [DONE]" else json.loads(line[len("data: ") :]) for line in lines]


def test_a_completion_is_openais_object_with_the_verification_added() -> None:
    group = decided(a_scored(0, "42", a_verdict("pass")), a_scored(1, "41"), a_scored(2, "42"))

    completion = to_completion(group)

    assert (
        completion["id"],
        completion["object"],
        completion["model"],
        completion["created"],
    ) == (TRACE_ID, "chat.completion", "auto", 1_764_000_000)
    assert completion["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "42", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert completion["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 15,
        "total_tokens": 25,
        "verification": {"samples": 3, "winner_tokens": 5},
    }
    assert completion["system_fingerprint"].startswith("fp_")


def test_the_verification_has_the_fields_of_the_contract() -> None:
    group = decided(a_scored(0, "42", a_verdict("pass")), a_scored(1, "42", a_verdict("pass")))

    assert verification_of(group) == {
        "status": "verified",
        "trace_id": TRACE_ID,
        "answer": "42",
        "confidence": None,
        "abstained": False,
        "threshold": None,
        "samples": 2,
        "rounds": 1,
        "votes": {"42": 2},
        "verifiers": [{"name": "number", "status": "pass", "score": 1.0}],
        "stop_reason": "decisive",
        "route": "hard",
        "route_name": "default",
        "difficulty": 0.8,
        "policy": "smol",
        "cache": {"hit": False},
        "degraded": [],
    }


def test_the_verification_says_that_an_answer_was_not_sure_enough() -> None:
    decision = Decision(
        status="unverified", winner=0, confidence=0.62, abstained=True, threshold=0.91
    )
    told = verification_of(decided(a_scored(0, "42"), decision=decision))

    assert (told["status"], told["abstained"]) == ("unverified", True)
    assert (told["confidence"], told["threshold"]) == (0.62, 0.91)


def test_the_trace_is_included_on_request_only() -> None:
    group = decided(options=Options(include=("trace",)))

    assert Group.from_json(json.dumps(verification_of(group)["trace"])) == group


def test_choices_come_best_first() -> None:
    best_second = Decision(status="agreed", winner=1, returned=(1, 0))
    group = decided(a_scored(0, "41"), a_scored(1, "42"), decision=best_second, choices=2)

    assert [
        (choice["index"], choice["message"]["content"])
        for choice in to_completion(group)["choices"]
    ] == [(0, "42"), (1, "41")]


def test_tool_calls_keep_their_arguments_byte_for_byte() -> None:
    arguments = '{"id": 12345678901234567890123, "x":1.0}'
    call = ToolCall(id="call_1", name="pay", arguments=arguments)
    scored = a_scored(0, "pay", text="", tool_calls=(call,), finish_reason="tool_calls")

    choice = to_completion(decided(scored))["choices"][0]

    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "pay", "arguments": arguments},
            }
        ],
    }
    assert choice["finish_reason"] == "tool_calls"


def test_who_sent_functions_gets_a_function_call() -> None:
    call = ToolCall(id="call_1", name="pay", arguments="{}")
    scored = a_scored(0, "pay", text="", tool_calls=(call,), finish_reason="tool_calls")

    choice = to_completion(decided(scored, old_functions=True))["choices"][0]

    assert choice["message"]["function_call"] == {"name": "pay", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"


def test_logprobs_are_the_winners_and_only_when_asked_for() -> None:
    wire = {"content": [{"token": "42", "logprob": -0.1}]}
    scored = a_scored(0, "42", logprobs_wire=wire)

    asked = to_completion(decided(scored, parameters=Parameters(logprobs=True)))
    not_asked = to_completion(decided(scored))

    assert [wire, None] == [c["choices"][0]["logprobs"] for c in (asked, not_asked)]


def test_a_held_answer_shows_no_text_and_no_answer() -> None:
    held = replace(DECIDED, status="held")
    group = decided(decision=held, options=Options(include=("trace",)))

    choice = to_completion(group)["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "content_filter")
    assert (verification_of(group)["status"], verification_of(group)["answer"]) == ("held", None)
    assert "42" not in b"".join(Chunks(group.task, group.plan).rest(group, Seen())).decode()


def test_an_unverified_answer_is_an_error_only_on_request() -> None:
    unverified = replace(DECIDED, status="unverified")

    assert error_of(decided(decision=unverified)) is None

    error = error_of(decided(decision=unverified, options=Options(on_unverified="error")))
    assert error is not None
    assert (
        error.http_status,
        error.error_code,
        error.should_retry,
    ) == (422, "verification_failed", False)


def test_a_failure_keeps_its_status_and_code() -> None:
    failure = Failure(code="upstream_unavailable", message="m", status=502, where="engine")

    error = error_of(decided().with_error(failure))

    assert error is not None
    assert (
        error.http_status,
        error.type,
        error.error_code,
        error.retry_after_s,
    ) == (502, "upstream_error", "upstream_unavailable", 1.0)


def test_what_was_paid_for_is_not_to_be_retried() -> None:
    failure = Failure(code="deadline_exceeded", message="m", status=504, where="deadline")

    paid = error_of(decided().with_error(failure))
    unpaid = error_of(a_group().with_error(failure))

    assert paid is not None
    assert unpaid is not None
    assert [paid.should_retry, unpaid.should_retry] == [False, None]


def test_the_upstreams_refusal_is_the_clients_error() -> None:
    failure = Failure(code="context_length_exceeded", message="m", status=400, where="engine")

    error = error_of(decided().with_error(failure))

    assert error is not None
    assert (error.http_status, error.type) == (400, "invalid_request_error")


def test_a_cache_hit_drew_nothing() -> None:
    cache = CacheRecord(hit=True, source_trace_id="chatcmpl-0", age_s=1.5)
    group = replace(a_group(a_scored(0, "42")), cache=cache).with_decision(DECIDED)

    assert verification_of(group)["cache"] == {
        "hit": True,
        "source_trace_id": "chatcmpl-0",
        "age_s": 1.5,
    }
    assert (
        verification_of(group)["samples"],
        to_completion(group)["usage"]["completion_tokens"],
    ) == (0, 5)
    assert response_headers(group)["x-verivote-cache"] == "hit"


def test_headers_say_what_happened() -> None:
    group = decided(ignored=("audio", "moderation"))

    assert response_headers(group) == {
        "x-verivote-trace-id": TRACE_ID,
        "x-verivote-route": "hard",
        "x-verivote-ignored-params": "audio, moderation",
        "x-verivote-status": "verified",
        "x-verivote-samples": "1",
        "x-verivote-cache": "miss",
    }


def test_a_header_value_cannot_end_the_header() -> None:
    value = header_value("a\r\nset-cookie: x=1\x00é" + "y" * 999)

    assert value.startswith("a??set-cookie: x=1??y")
    assert len(value) == 256


def test_a_stream_is_role_content_finish_done() -> None:
    group = decided()
    chunks = Chunks(group.task, group.plan)

    first, content, finish, done = data_of([chunks.role(), *chunks.rest(group, Seen())])

    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert first["verification"] == {"trace_id": TRACE_ID}
    assert content["choices"][0]["delta"] == {"content": "42"}
    assert (
        finish["choices"][0]["delta"],
        finish["choices"][0]["finish_reason"],
    ) == ({}, "stop")
    assert finish["verification"] == verification_of(group)
    assert done == "data: [DONE]"
    assert len({(c["id"], c["created"], c["model"]) for c in (first, content, finish)}) == 1
    assert all("usage" not in chunk for chunk in (first, content, finish))


def test_usage_comes_last_and_is_null_before() -> None:
    group = decided(include_usage=True)
    chunks = Chunks(group.task, group.plan)

    *before, last, _ = data_of([chunks.role(), *chunks.rest(group, Seen())])

    assert [chunk["usage"] for chunk in before] == [None] * 3
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 15)


def test_several_choices_stream_under_their_index() -> None:
    both = Decision(status="agreed", winner=0, returned=(0, 1))
    group = decided(a_scored(0, "42"), a_scored(1, "41"), decision=both, choices=2)
    chunks = Chunks(group.task, group.plan)

    payloads = data_of([chunks.role(), *chunks.rest(group, Seen())])[:-1]

    assert [payload["choices"][0]["index"] for payload in payloads] == [0, 0, 0, 1, 1, 1]
    assert ["votes" in p.get("verification", {}) for p in payloads] == [False] * 5 + [True]


def test_what_was_shown_live_is_not_sent_again() -> None:
    group = decided(a_scored(0, "42", text="The answer is 42"))
    chunks, seen = Chunks(group.task, group.plan), Seen()
    for delta in (Delta(content="The answer "), Delta(content="is ")):
        seen.add(delta)

    rest = data_of(chunks.rest(group, seen))

    assert rest[0]["choices"][0]["delta"] == {"content": "42"}


def test_tool_calls_stream_with_their_index() -> None:
    call = ToolCall(id="call_1", name="pay", arguments="{}")
    scored = a_scored(0, "pay", text="", tool_calls=(call,), finish_reason="tool_calls")
    group = decided(scored)

    content, finish, _ = data_of(Chunks(group.task, group.plan).rest(group, Seen()))

    assert content["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert finish["choices"][0]["finish_reason"] == "tool_calls"


def test_the_fingerprint_follows_the_model() -> None:
    one = to_completion(decided())["system_fingerprint"]
    plan = a_plan(policy="other")
    other = replace(decided(), plan=plan)

    assert one != to_completion(other)["system_fingerprint"]


def test_a_sample_that_never_ended_counts_as_cut() -> None:
    cut = replace(a_scored(0, None), sample=a_sample(0, "half", finish_reason=None))

    assert to_completion(decided(cut))["choices"][0]["finish_reason"] == "length"
