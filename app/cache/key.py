"""The keys of a request in the cache: equal keys mean equal meaning, and nothing less.

Nothing is rewritten except Unicode normalisation form: near-equal prompts with other numbers are
other questions. A key is 64 hex digits, of which the first 16 name the tenant: entries of two
tenants never meet, and one tenant's can be found to be purged.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.plan import Plan
from app.task import Task

TAG_DIGITS = 16
_POLICY = re.compile(r"policy-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKeys:
    """One request under four lights, each finer or coarser than the next."""

    tenant: str
    question: str
    """What was asked of whom: a prompt with everything that shapes its answer."""
    exact: str
    """The question, the version of the model, the answer contract and the verifiers with their
    versions. A verified answer is valid under it whatever budget it took."""
    attempt: str
    """The exact key and how the samples are drawn and judged: what an *unverified* outcome depends
    on, apart from the budget."""
    scope: str
    """Like the question, without the wording of the last user message: among requests of one scope
    a verified answer to another wording may be tried (app/cache/near.py). Empty: never."""


def cache_keys(task: Task, plan: Plan, *, extractor_version: str) -> CacheKeys:
    """The keys of a task under its first plan. Pure."""
    asked = _asked(task, plan)
    question = _key(task.tenant, asked)
    exact = _key(
        task.tenant,
        {
            "question": question,
            "policy": plan.policy,
            "fallback": plan.fallback,
            "contract": asdict(plan.contract),
            "verifiers": [[v.name, v.version, v.config_hash] for v in plan.verifiers],
            "extractor": extractor_version,
        },
    )
    attempt = _key(
        task.tenant,
        {
            "exact": exact,
            "route": [plan.route_name, plan.route],
            "rule": plan.rule,  # its first round and margin follow from the budget
            "max_error": plan.max_error,
            "on_unverified": task.options.on_unverified,
        },
    )
    return CacheKeys(
        tenant=task.tenant,
        question=question,
        exact=exact,
        attempt=attempt,
        scope=_scope(task, plan, asked) if plan.reuse == "near" else "",
    )


def tenant_tag(tenant: str) -> str:
    """The first digits of every key of a tenant."""
    return hashlib.sha256(b"tenant\x1f" + tenant.encode()).hexdigest()[:TAG_DIGITS]


def may_come_from(older: str, current: str) -> bool:
    """Whether an answer of policy `older` may be checked anew for a request to `current`.

    The same one, an earlier `policy-<n>`, or the base model before the first: after a rollback
    nothing of the newer policy is served.
    """
    if older == current:
        return True
    now, then = _POLICY.fullmatch(current), _POLICY.fullmatch(older)
    if now is None:
        return False
    return then is None or int(then[1]) < int(now[1])


def _asked(task: Task, plan: Plan) -> dict[str, Any]:
    sent = task.parameters
    return {
        "tenant": task.tenant,
        "namespace": task.cache_namespace,
        "alias": task.alias,
        "engine": plan.engine,
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
    }


def _scope(task: Task, plan: Plan, asked: Mapping[str, Any]) -> str:
    """Verifiers by name only: the options of most come from the prompt, whose wording differs."""
    return _key(
        task.tenant,
        {
            **asked,
            "messages": _without_last_prompt(asked["messages"]),
            "contract": plan.contract.kind,
            "verifiers": [v.name for v in plan.verifiers],
        },
    )


def _without_last_prompt(messages: list[Any]) -> list[Any]:
    kept = list(messages)
    for place in reversed(range(len(kept))):
        if kept[place].get("role") == "user":
            content = kept[place].get("content")
            if isinstance(content, list):
                content = [
                    {**part, "text": ""} if isinstance(part, Mapping) and "text" in part else part
                    for part in content
                ]
            else:
                content = ""
            kept[place] = {**kept[place], "content": content}
            break
    return kept


def _key(tenant: str, identity: Mapping[str, Any]) -> str:
    # The standard writer, not the fast one: it keeps every digit of integers past 64 bits.
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
    return tenant_tag(tenant) + digest[TAG_DIGITS:]


def _normalised(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list | tuple):
        return [_normalised(item) for item in value]
    if isinstance(value, dict):
        return {_normalised(key): _normalised(item) for key, item in value.items()}
    return value
