"""Small groups for tests: every field has a sensible value, a test names only what it is about."""

from __future__ import annotations

from typing import Any

from app.group import Group
from app.plan import Plan, VerifierRef
from app.sample import Sample, Scored
from app.task import Options, Parameters, Task
from app.voting.tally import tally_votes
from verifiers.base import Answer, AnswerContract, Role, Status, Verdict

TRACE_ID = "chatcmpl-01JD0000000000000000000000"


def a_task(prompt: str = "What is 6 * 7?", **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "request_id": "req_1",
        "received_at": 1_764_000_000.0,
        "tenant": "local",
        "model": "auto",
        "alias": "auto",
        "engine": "main",
        "messages": ({"role": "user", "content": prompt},),
        "parameters": Parameters(),
        "options": Options(),
    }
    return Task(**{**fields, **changes})


def a_plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "route": "hard",
        "difficulty": 0.8,
        "threshold": 0.5,
        "reasons": (),
        "rule": "margin",
        "first_round": 3,
        "cap": 16,
        "margin": 3,
        "engine": "main",
        "policy": "smol",
        "contract": AnswerContract(kind="number"),
        "verifiers": (),
        "temperature": 0.7,
        "top_p": None,
        "max_tokens": None,
        "seed": 1,
        "deadline_ms": 60_000,
    }
    return Plan(**{**fields, **changes})


def a_sample(index: int = 0, text: str = "42", **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "index": index,
        "round": 1,
        "call": 0,
        "choice": index,
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 5,
    }
    return Sample(**{**fields, **changes})


def a_verdict(status: str = "pass", **changes: Any) -> Verdict:
    role: Role = "outcome"
    fields: dict[str, Any] = {
        "verifier": "number",
        "version": "1",
        "config_hash": "0" * 12,
        "role": role,
        "decisive": True,
        "status": Status(status),
        "score": {"pass": 1.0, "fail": 0.0}.get(status),
    }
    return Verdict(**{**fields, **changes})


def a_scored(
    index: int, key: str | None, *verdicts: Verdict, text: str | None = None, **changes: Any
) -> Scored:
    said = text if text is not None else (key or "no idea")
    answer = Answer(kind="number", rule="last_number" if key else None, text=said, key=key)
    return Scored(sample=a_sample(index, said, **changes), answer=answer, verdicts=verdicts)


def a_ref(*, decisive: bool = True, role: Role = "outcome") -> VerifierRef:
    return VerifierRef(
        name="number",
        version="1",
        config_hash="0" * 12,
        role=role,
        decisive=decisive,
        source="request",
    )


def a_group(*scored: Scored, task: Task | None = None, plan: Plan | None = None) -> Group:
    group = Group.open(task or a_task(), plan or a_plan()).with_scored(*scored)
    return group.with_tally(tally_votes(group.scored))
