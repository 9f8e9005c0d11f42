"""The exact cache key: equal keys mean the same question, asked of the same model, checked alike.

Nothing is rewritten except Unicode normalisation form: near-equal prompts with other numbers are
other questions.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import asdict
from typing import Any

from app.group import Plan, Task


def cache_key(task: Task, plan: Plan, *, extractor_version: str) -> str:
    """sha256 over canonical JSON of everything that may change the answer or its proof."""
    sent = task.parameters
    identity: dict[str, Any] = {
        "tenant": task.tenant,
        "namespace": task.cache_namespace,
        "alias": task.alias,
        "engine": task.engine,
        "policy": plan.policy,
        "messages": _normalised(task.messages),
        "tools": task.tools,
        "tool_choice": task.tool_choice,
        "parallel_tool_calls": task.parallel_tool_calls,
        "response_format": task.response_format,
        "choices": task.choices,
        "sampling": {
            "temperature": sent.temperature,
            "top_p": sent.top_p,
            "max_tokens": sent.max_tokens,
            "stop": sent.stop,
            "seed": sent.seed,
            "logprobs": sent.logprobs,
            "top_logprobs": sent.top_logprobs,
            "presence_penalty": sent.presence_penalty,
            "frequency_penalty": sent.frequency_penalty,
            "logit_bias": sent.logit_bias,
            "reasoning_effort": sent.reasoning_effort,
            "verbosity": sent.verbosity,
            "extra": dict(sent.extra),
        },
        "plan": {"cap": plan.cap, "margin": plan.margin, "rule": plan.rule, "route": plan.route},
        "contract": asdict(plan.contract),
        "verifiers": [[v.name, v.version, v.config_hash] for v in plan.verifiers],
        "extractor": extractor_version,
    }
    # The standard writer, not the fast one: it keeps every digit of integers past 64 bits.
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _normalised(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list | tuple):
        return [_normalised(item) for item in value]
    if isinstance(value, dict):
        return {_normalised(key): _normalised(item) for key, item in value.items()}
    return value
