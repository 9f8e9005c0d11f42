"""Group → the rows of the tables, and back to a line of the trace list. Pure views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.group import Group
from app.sample import Scored
from app.store.base import LabelKind, TraceSummary
from app.store.sides import Side, split_of
from app.store.tables import NAME_CHARS, PREVIEW_CHARS
from app.store.training_rows import hash_prompt, prompt_token_ids, why_not_trainable
from verifiers.base import Status

Row = dict[str, Any]

ANSWER_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What one group is in the tables."""

    group: Row
    payload: Row
    samples: tuple[Row, ...]
    verdicts: tuple[Row, ...]


def to_rows(group: Group, side: Side | None = None) -> Rows:
    """All rows of a group whose texts are storable (`texts.from_spool_json`).

    `side` is where the prompt belongs; None where it was not kept in full.
    """
    return Rows(
        group=_group_row(group, side),
        payload={
            "trace_id": group.trace_id,
            "document": group.to_json().decode(),
            "altered": list(group.altered),
            "original_sha256": group.original_sha256,
            "prompt_token_ids": prompt_token_ids(group),
        },
        samples=tuple(_sample_row(group, scored) for scored in group.scored),
        verdicts=tuple(
            row for scored in group.scored for row in _verdict_rows(group.trace_id, scored)
        ),
    )


def _group_row(group: Group, side: Side | None) -> Row:
    task, plan, usage = group.task, group.plan, group.usage()
    prompt_hash = hash_prompt(group)
    statuses = Counter(v.status.value for scored in group.scored for v in scored.verdicts)
    return {
        "trace_id": group.trace_id,
        "received_at": task.received_at,
        "tenant": task.tenant[:NAME_CHARS],
        "model": task.model[:NAME_CHARS],
        "alias": task.alias[:NAME_CHARS],
        "engine": task.engine[:NAME_CHARS],
        "policy": plan.policy[:NAME_CHARS],
        "route": plan.route,
        "difficulty": plan.difficulty,
        "status": status_of(group),
        "stop_reason": group.decision.stop_reason if group.decision else "",
        "error_code": group.error.code if group.error else None,
        "prompt_preview": task.prompt()[:PREVIEW_CHARS],
        "prompt_hash": prompt_hash,
        "cluster": side.cluster if side else None,
        "split": side.split if side else split_of(prompt_hash),
        "answer": _answer(group),
        "samples": len(group.scored),
        "rounds": group.rounds,
        "votes": [list(said) for said in group.answers()],
        "agreement": _agreement(group),
        "split_vote": len(group.answers()) > 1,
        "verdict_counts": dict(statuses),
        "has_verifier_error": statuses[Status.ERROR.value] > 0,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "duration_ms": group.finished_ms,
        "cache_hit": group.cache.hit,
        "degraded": list(group.degraded),
        "metadata": dict(task.metadata),
        "content": task.content,
        "user_hash": task.user_hash,
        "gateway_version": group.gateway_version,
        "extractor_version": group.extractor_version,
        "group_version": group.version,
    }


def status_of(group: Group) -> str:
    """The decision's status; `failed` when the group ended in an error or without a decision."""
    if group.error is not None or group.decision is None:
        return "failed"
    return group.decision.status


def _answer(group: Group) -> str | None:
    key = _answer_key(group)
    return None if key is None else key[:ANSWER_CHARS]


def _answer_key(group: Group) -> str | None:
    try:
        winner = group.winner
    except KeyError:
        return None
    return None if winner is None else winner.answer.key


def _agreement(group: Group) -> float | None:
    """The served answer's share of the answers that were said, refuted ones too."""
    said = dict(group.answers())
    served = _answer_key(group)
    return said[served] / sum(said.values()) if served is not None else None


def _sample_row(group: Group, scored: Scored) -> Row:
    sample = scored.sample
    why_not = why_not_trainable(group, scored)
    return {
        "trace_id": group.trace_id,
        "sample": sample.index,
        "round": sample.round,
        "finish_reason": sample.finish_reason,
        "answer_key": scored.answer.key,
        "reward": scored.reward,
        "policy": group.plan_of(scored.sample).policy[:NAME_CHARS],
        "model": sample.model,
        "prompt_tokens": sample.prompt_tokens,
        "completion_tokens": sample.completion_tokens,
        "token_ids": sample.token_ids,
        "logprobs": sample.logprobs,
        "trainable": not why_not,
        "not_trainable": why_not,
        "cancelled": sample.cancelled,
        "started_ms": sample.started_ms,
        "first_token_ms": sample.first_token_ms,
        "finished_ms": sample.finished_ms,
    }


def _verdict_rows(trace_id: str, scored: Scored) -> list[Row]:
    return [
        {
            "trace_id": trace_id,
            "sample": scored.sample.index,
            "position": position,
            "verifier": verdict.verifier[:NAME_CHARS],
            "version": verdict.version,
            "config_hash": verdict.config_hash,
            "role": verdict.role,
            "decisive": verdict.decisive,
            "status": verdict.status.value,
            "score": verdict.score,
            "reason": verdict.reason,
            "wait_ms": verdict.wait_ms,
            "run_ms": verdict.run_ms,
        }
        for position, verdict in enumerate(scored.verdicts)
    ]


def to_summary(row: Mapping[str, Any], labels: tuple[LabelKind, ...]) -> TraceSummary:
    """A line of the trace list from a row of `groups`."""
    return TraceSummary(
        trace_id=row["trace_id"],
        received_at=row["received_at"],
        tenant=row["tenant"],
        model=row["model"],
        route=row["route"],
        status=row["status"],
        stop_reason=row["stop_reason"],
        prompt_preview=row["prompt_preview"],
        answer=row["answer"],
        samples=row["samples"],
        rounds=row["rounds"],
        votes=tuple((key, count) for key, count in row["votes"]),
        agreement=row["agreement"],
        verdicts=tuple(sorted(row["verdict_counts"].items())),
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        duration_ms=row["duration_ms"],
        cache_hit=row["cache_hit"],
        degraded=tuple(row["degraded"]),
        labels=labels,
    )
