"""Finished groups for tests, small and complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ulid import ULID

from app.group import Decision, Failure, Group, Tally
from app.plan import Plan, Reason, VerifierRef
from app.sample import Call, Sample, Scored
from app.task import Task
from verifiers.base import Answer, AnswerContract, Status, Verdict

START = 1_790_000_000.0
"""A Unix time that tests count from."""


def trace_id_at(at: float, salt: int = 0) -> str:
    """An id that sorts by `at` (Unix seconds), then by `salt`."""
    return f"chatcmpl-{ULID.from_bytes(int(at * 1000).to_bytes(6) + salt.to_bytes(10))}"


def make_task(at: float = START, **changes: Any) -> Task:
    task = Task(
        trace_id=trace_id_at(at),
        request_id="req_1",
        received_at=at,
        tenant="local",
        model="auto",
        alias="auto",
        engine="main",
        messages=(
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": "What is 17 + 25?"},
        ),
    )
    return replace(task, **changes)


def make_plan(**changes: Any) -> Plan:
    plan = Plan(
        route="hard",
        difficulty=0.7,
        threshold=0.5,
        reasons=(Reason(feature="has_number", value=True, contribution=0.4),),
        rule="margin",
        first_round=3,
        cap=16,
        margin=3,
        engine="main",
        policy="base",
        contract=AnswerContract(kind="number"),
        verifiers=(
            VerifierRef(
                name="calculator",
                version="1",
                config_hash="0123456789ab",
                role="outcome",
                decisive=True,
                source="auto",
            ),
        ),
        temperature=1.0,
        top_p=1.0,
        max_tokens=64,
        seed=7,
        deadline_ms=60_000,
    )
    return replace(plan, **changes)


def make_scored(index: int, answer: str, status: Status = Status.PASS, **changes: Any) -> Scored:
    sample = Sample(
        index=index,
        round=1,
        call=0,
        choice=index,
        text=f"It is {answer}.",
        finish_reason="stop",
        prompt_tokens=12,
        completion_tokens=4,
        token_ids=(5, 6, 7, index),
        logprobs=(-0.5, -0.25, -1.0, -0.125),
        seed=7,
        model="smol",
        finished_ms=80.0,
        trainable=True,
    )
    verdict = Verdict(
        verifier="calculator",
        version="1",
        config_hash="0123456789ab",
        role="outcome",
        decisive=True,
        status=status,
        score={Status.PASS: 1.0, Status.FAIL: 0.0}.get(status),
        evidence={"expected": "42"},
    )
    return Scored(
        sample=replace(sample, **changes),
        answer=Answer(kind="number", rule="last_number", text=answer, key=answer),
        verdicts=(verdict,),
        reward=verdict.score,
    )


def make_group(
    at: float = START,
    *,
    answers: Sequence[str] = ("42", "42", "41"),
    task: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Group:
    """A verified group whose samples gave these answers; 42 is right, the first one is served."""
    votes = sorted({a: answers.count(a) for a in answers}.items(), key=lambda v: -v[1])
    group = Group(
        task=make_task(at, **(task or {})),
        plan=make_plan(**(plan or {})),
        scored=tuple(
            make_scored(i, a, Status.PASS if a == "42" else Status.FAIL)
            for i, a in enumerate(answers)
        ),
        calls=(
            Call(
                index=0,
                round=1,
                engine="main",
                n=len(answers),
                seed=7,
                started_ms=1.0,
                finished_ms=80.0,
                prompt_tokens=12,
                prompt_token_ids=(1, 2, 3),
            ),
        ),
        tally=Tally(votes=tuple(votes), leader=votes[0][0] if votes else None),
        decision=Decision(
            status="verified",
            winner=0 if answers else None,
            returned=(0,) if answers else (),
            stop_reason="decisive_pass",
        ),
        finished_ms=100.0,
        gateway_version="0.1.0",
        extractor_version="1",
    )
    return replace(group, **changes)


def failed_group(at: float = START, **changes: Any) -> Group:
    failure = Failure(code="upstream_timeout", message="too slow", status=504, where="engine")
    return make_group(at, answers=(), decision=None, error=failure, **changes)
