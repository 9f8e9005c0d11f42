"""Group → training rows: what the night reads of a group, one row a sample.

A pure view. It carries rewards, not advantages: which samples are compared, and how, is the
objective's choice. Every sample becomes a row, with the reason when it may not be trained on,
because even a row without µ can serve as a positive example.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any, Literal

from app.group import Group, Scored, text_of
from app.store.content import level_of
from verifiers.compose import process_rewards

Split = Literal["train", "gate", "audit"]


def to_training_rows(group: Group) -> tuple[dict[str, Any], ...]:
    """One row a sample, in drawing order. `logprobs` is µ, aligned with `token_ids`."""
    task, plan = group.task, group.plan
    prompt_hash = hash_prompt(group)
    shared: dict[str, Any] = {
        "trace_id": group.trace_id,
        "received_at": task.received_at,
        "tenant": task.tenant,
        "policy": plan.policy,
        "prompt": [dict(message) for message in task.messages],
        "tools": [dict(tool) for tool in task.tools],
        "prompt_hash": prompt_hash,
        "split": split_of(prompt_hash),
        "prompt_token_ids": prompt_token_ids(group),
        "temperature": plan.temperature,
        "top_p": plan.top_p,
        "extractor_version": group.extractor_version,
    }
    return tuple(shared | _sample_part(group, scored) for scored in group.scored)


def _sample_part(group: Group, scored: Scored) -> dict[str, Any]:
    sample = scored.sample
    why_not = why_not_trainable(group, scored)
    return {
        "sample": sample.index,
        "model": sample.model,
        "text": sample.text if sample.raw_text is None else sample.raw_text,
        "token_ids": sample.token_ids,
        "logprobs": sample.logprobs,
        "finish_reason": sample.finish_reason,
        "reward": scored.reward,
        "step_rewards": process_rewards(scored.verdicts),
        "verdicts": [
            {
                "verifier": v.verifier,
                "version": v.version,
                "config_hash": v.config_hash,
                "status": v.status.value,
                "score": v.score,
            }
            for v in scored.verdicts
        ],
        "trainable": not why_not,
        "not_trainable": why_not,
    }


def why_not_trainable(group: Group, scored: Scored) -> str:
    """Code of the first thing that keeps a sample out of policy-gradient training, or nothing."""
    sample, level = scored.sample, level_of(group.task)
    reasons = (
        (level != "full", f"content_{level}"),
        (group.cache.hit, "cache_hit"),
        (not sample.trainable, sample.not_trainable or "not_trainable"),
        (sample.cancelled or sample.finish_reason is None, "unfinished"),
        (not sample.token_ids, "no_token_ids"),
        (sample.logprobs is None, "no_logprobs"),
        (len(sample.logprobs or ()) != len(sample.token_ids or ()), "logprobs_misaligned"),
        (prompt_token_ids(group) is None, "no_prompt_token_ids"),
        (scored.reward is None, "no_reward"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def hash_prompt(group: Group) -> str | None:
    """Hex sha256 of what the user said, whatever its case, spacing and Unicode form.

    System messages do not count, so one question stays on one side of the split when only the
    instructions around it change. None when nothing of it was kept.
    """
    said = [text_of(m.get("content")) for m in group.task.messages if m.get("role") == "user"]
    normal = " ".join(unicodedata.normalize("NFKC", "\n".join(said)).casefold().split())
    return hashlib.sha256(normal.encode()).hexdigest() if normal else None


def split_of(prompt_hash: str | None) -> Split:
    """Which side a prompt is on, for ever: 5 in 100 `gate`, 2 in 100 `audit`, the rest `train`.

    `gate` and `audit` are held out. A prompt that was not kept counts as `train` and never trains.
    """
    place = int(prompt_hash, 16) % 100 if prompt_hash else 99
    return "gate" if place < 5 else "audit" if place < 7 else "train"


def prompt_token_ids(group: Group) -> tuple[int, ...] | None:
    """Token ids of the prompt, which are the same in every call."""
    return next((c.prompt_token_ids for c in group.calls if c.prompt_token_ids is not None), None)
