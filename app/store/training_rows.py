"""Group → training rows: what the night reads of a group, one row a sample.

A pure view. It carries rewards, not advantages: which samples are compared, and how, is the
objective's choice. Every sample becomes a row, with the reason when it may not be trained on,
because even a row without µ can serve as a positive example. A field that the engine does not tell
is None; ids are never made from text and log probabilities never made up.
"""

from __future__ import annotations

import dataclasses
import hashlib
import statistics
import unicodedata
from typing import Any

from app.group import Group
from app.sample import Call, Origin, Scored
from app.store.content import level_of
from app.store.sides import Side, split_of
from app.task import text_of
from verifiers.base import Verdict
from verifiers.compose import compose_reward, process_ends, process_rewards

NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""What is sent with every call that may be trained on."""
UNPROCESSED = "unprocessed_logprobs"
"""The server reports log probabilities of the bare model."""
_NOBODY = Origin()


def to_training_rows(group: Group, side: Side | None = None) -> tuple[dict[str, Any], ...]:
    """One row a sample, in drawing order. `logprobs` is µ, aligned with `token_ids`.

    `trace_id` is the group and `sample` the place in it. `side` is what the store settled for the
    prompt; without it the prompt's own hash says the split.
    """
    task = group.task
    prompt_hash = hash_prompt(group)
    shared: dict[str, Any] = {
        "trace_id": group.trace_id,
        "received_at": task.received_at,
        "tenant": task.tenant,
        "prompt": [dict(message) for message in task.messages],
        "tools": [dict(tool) for tool in task.tools],
        "prompt_hash": prompt_hash,
        "cluster": side.cluster if side else prompt_hash,
        "split": side.split if side else split_of(prompt_hash),
        "extractor_version": group.extractor_version,
        "gateway_version": group.gateway_version,
    }
    return tuple(shared | _sample_part(group, scored) for scored in group.scored)


def _sample_part(group: Group, scored: Scored) -> dict[str, Any]:
    sample = scored.sample
    why_not = why_not_trainable(group, scored)
    shown = [verdict for verdict in scored.verdicts if not verdict.hidden]
    return {
        "sample": sample.index,
        "round": sample.round,
        "stage": sample.stage,
        "kind": sample.kind,
        "model": sample.model,
        "seed": sample.seed,
        "text": sample.text if sample.raw_text is None else sample.raw_text,
        "tool_calls": [dataclasses.asdict(call) for call in sample.tool_calls],
        "prompt_token_ids": prompt_token_ids_of(group, scored),
        "token_ids": sample.token_ids,
        "logprobs": sample.logprobs,
        "finish_reason": sample.finish_reason,
        "prompt_tokens": sample.prompt_tokens,
        "completion_tokens": sample.completion_tokens,
        "started_ms": sample.started_ms,
        "first_token_ms": sample.first_token_ms,
        "finished_ms": sample.finished_ms,
        "reward": training_reward(scored),
        "hidden_score": hidden_score(scored),
        "step_rewards": process_rewards(shown),
        # Places in a text that was changed afterwards would be places in another text.
        "step_ends": process_ends(shown) if sample.raw_text is None else {},
        "verdicts": [_verdict(verdict) for verdict in scored.verdicts],
        "trainable": not why_not,
        "not_trainable": why_not,
        **_law(group, scored),
        **_origin(call_of(group, scored)),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "verifier": verdict.verifier,
        "version": verdict.version,
        "config_hash": verdict.config_hash,
        "role": verdict.role,
        "decisive": verdict.decisive,
        "hidden": verdict.hidden,
        "status": verdict.status.value,
        "score": verdict.score,
        "reason": verdict.reason,
        "evidence": dict(verdict.evidence),
    }


def _law(group: Group, scored: Scored) -> dict[str, Any]:
    """By whom and how the sample was drawn; None where the server's own default held."""
    plan, wanted = group.plan_of(scored.sample), group.task.parameters
    neutral = NEUTRAL if scored.sample.trainable else {}
    sent = {
        "top_p": plan.top_p,
        **{key: wanted.extra.get(key) for key in NEUTRAL if key != "top_p"},
    }
    return {
        "policy": plan.policy,
        "temperature": plan.temperature,
        **{key: neutral.get(key) if sent[key] is None else sent[key] for key in NEUTRAL},
        "presence_penalty": wanted.presence_penalty or 0.0,
        "frequency_penalty": wanted.frequency_penalty or 0.0,
        "logprobs_mode": _logprobs_mode(scored),
    }


def _logprobs_mode(scored: Scored) -> str | None:
    """`processed`: of the law that was sampled from; `unprocessed`: of the bare model."""
    if scored.sample.trainable:
        return "processed"
    return "unprocessed" if scored.sample.not_trainable == UNPROCESSED else None


def _origin(call: Call | None) -> dict[str, Any]:
    origin = (call and call.origin) or _NOBODY
    return {
        "server_version": origin.server_version,
        "base_model_digest": origin.base_model_digest,
        "tokenizer_digest": origin.tokenizer_digest,
        "chat_template_digest": origin.chat_template_digest,
        "weight_version": origin.weight_version,
    }


def why_not_trainable(group: Group, scored: Scored) -> str:
    """Code of the first thing that keeps a sample out of policy-gradient training, or nothing."""
    sample, level = scored.sample, level_of(group.task)
    ids, mu = sample.token_ids or (), sample.logprobs
    # Of what the server lacks, ids come first: without them no setting of it would help.
    lacking = sample.not_trainable == UNPROCESSED
    reasons = (
        (level != "full", f"content_{level}"),
        (group.cache.hit, "cache_hit"),
        (not sample.trainable and not lacking, sample.not_trainable or "not_trainable"),
        (sample.cancelled or sample.finish_reason is None, "unfinished"),
        (not ids, "no_token_ids"),
        (mu is None, "no_logprobs"),
        (len(mu or ()) != len(ids), "misaligned_logprobs"),
        (lacking, UNPROCESSED),
        (prompt_token_ids_of(group, scored) is None, "no_prompt_token_ids"),
        (training_reward(scored) is None, "no_reward"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def training_reward(scored: Scored) -> float | None:
    """The reward without the grades of hidden verifiers, so that they can judge what it taught.

    Where only hidden ones grade, it is theirs. Verdicts carry no weights: a reward that has to be
    composed anew weighs the open ones alike.
    """
    if not _audits(scored):
        return scored.reward
    return compose_reward([v for v in scored.verdicts if not (v.hidden and _grades(v))])


def hidden_score(scored: Scored) -> float | None:
    """Mean score of the hidden verifiers that have no part in the reward; None without such."""
    scores = [verdict.score for verdict in _audits(scored) if verdict.score is not None]
    return statistics.fmean(scores) if scores else None


def _audits(scored: Scored) -> list[Verdict]:
    """Grades of hidden verifiers beside open ones."""
    graded = [verdict for verdict in scored.verdicts if _grades(verdict)]
    hidden = [verdict for verdict in graded if verdict.hidden]
    return hidden if len(hidden) < len(graded) else []


def _grades(verdict: Verdict) -> bool:
    return verdict.role in ("outcome", "judge")


def call_of(group: Group, scored: Scored) -> Call | None:
    """The upstream call that a sample came from; None for a cached answer."""
    return next((call for call in group.calls if call.index == scored.sample.call), None)


def prompt_token_ids_of(group: Group, scored: Scored) -> tuple[int, ...] | None:
    """Token ids of the prompt that a sample answers: programs and fallbacks are asked otherwise."""
    call = call_of(group, scored)
    return None if call is None else call.prompt_token_ids


def prompt_token_ids(group: Group) -> tuple[int, ...] | None:
    """Token ids of the prompt in the first call that has them."""
    return next((c.prompt_token_ids for c in group.calls if c.prompt_token_ids is not None), None)


def normal_prompt(group: Group) -> str | None:
    """What the user said, without case, spacing and Unicode form; None when nothing was kept.

    System messages do not count, so one question stays on one side of the split when only the
    instructions around it change.
    """
    said = [text_of(m.get("content")) for m in group.task.messages if m.get("role") == "user"]
    normal = " ".join(unicodedata.normalize("NFKC", "\n".join(said)).casefold().split())
    return normal or None


def hash_prompt(group: Group) -> str | None:
    """Hex sha256 of `normal_prompt`."""
    normal = normal_prompt(group)
    return hashlib.sha256(normal.encode()).hexdigest() if normal else None
