"""Small cache entries for tests: a test names only what it is about."""

from __future__ import annotations

from typing import Any

from app.cache.base import Budget, CacheEntry
from app.cache.entry import to_cache_entry
from app.cache.key import CacheKeys, cache_keys
from app.group import Group
from app.plan import Plan
from app.task import Options, Task
from app.voting.decide import decide
from tests.builders import a_group, a_plan, a_ref, a_scored, a_task, a_verdict

NOW = 1_764_000_000.0
BUDGET = Budget(cap=16, deadline_ms=60_000)


def keys(prompt: str = "What is 6 * 7?", *, plan: Plan | None = None, **task: Any) -> CacheKeys:
    return cache_keys(
        a_task(prompt, **task), plan or a_plan(verifiers=(a_ref(),)), extractor_version="1"
    )


def a_trace(number: int) -> str:
    return f"chatcmpl-01JD{number:022d}"


def verified(prompt: str = "What is 6 * 7?", *, plan: Plan | None = None, **task: Any) -> Group:
    """42 was verified, 41 refuted."""
    return _decided(
        (a_scored(0, "41", a_verdict("fail")), a_scored(1, "42", a_verdict("pass"))),
        a_task(prompt, **task),
        plan,
    )


def refuted(prompt: str = "What is 6 * 7?", *, plan: Plan | None = None, **task: Any) -> Group:
    """Everything that was drawn was refuted."""
    samples = tuple(a_scored(i, "41", a_verdict("fail")) for i in range(3))
    return _decided(samples, a_task(prompt, **task), plan, reason="cap")


def _decided(scored: Any, task: Task, plan: Plan | None, reason: str = "verified") -> Group:
    group = a_group(*scored, task=task, plan=plan or a_plan(verifiers=(a_ref(),)))
    return group.with_decision(decide(group, reason))


def an_entry(
    prompt: str = "What is 6 * 7?",
    *,
    number: int = 0,
    at: float = NOW,
    source: CacheEntry | None = None,
    **changes: Any,
) -> CacheEntry:
    """The entry of a verified answer to this prompt, of trace `number`."""
    group = verified(prompt, trace_id=a_trace(number), **changes)
    return to_cache_entry(group, keys(prompt, **changes), "verified", now=at, source=source)


def a_negative(
    prompt: str = "What is 6 * 7?", *, number: int = 0, at: float = NOW, **changes: Any
) -> CacheEntry:
    """The note that nothing could be verified."""
    group = refuted(prompt, trace_id=a_trace(number), **changes)
    return to_cache_entry(group, keys(prompt, **changes), "negative", now=at)


def options(**changes: Any) -> Options:
    return Options(**changes)
