"""How good is a policy? It answers held-out prompts on the path of every request.

Each prompt is answered once with k samples, all drawn whatever they say, and once greedily. The
same prompt gets the same seeds and the same verifiers whoever answers it, so two policies can be
compared prompt by prompt. Nothing of it is logged, cached, or learned from.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from app.cache.memory import MemoryCache
from app.errors import ConfigError, EngineError, RequestError
from app.gateway import answer, open_task
from app.group import Group
from app.retrain.evidence import Outcome, outcome_of
from app.rim import Rim
from app.routing.plan import seed_of
from app.store.database import transact
from app.store.nowhere import NowhereStore
from app.store.sides import Side
from app.store.tables import groups
from app.store.training_log import TrainingLog
from app.task import Options, Parameters, Task, text_of
from verifiers.base import VerifierSpec

T = TypeVar("T")

AT_ONCE = 16
"""Prompts in flight at most."""
ITS_SHARE = 2
"""One in so many of the engine's samples in flight may be ours: others are served meanwhile."""
WAITS_S = (0.0, 1.0, 4.0, 15.0)
"""Before each try of a prompt that an engine had no room for, or failed at."""
DEADLINE_MS = 300_000
ITS_VERIFIERS = 3
"""Tries of a prompt whose verifiers cannot be prepared: it may be the machine that is busy."""
LOOKED_AT = 20
"""Groups looked at for each held-out prompt that is wanted: most prompts come more than once."""
KEYS = frozenset(("prompt", "messages", "verifiers", "max_tokens", "slice", "cluster"))
_SET = ("mode", "n", "rule", "cache", "deadline_ms", "on_unverified", "effort", "verifiers")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A prompt that nobody trains on."""

    task: Task
    """As it was asked; its limits are replaced."""
    cluster: str
    """Near-duplicates share it."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """More parts of the traffic that it belongs to."""


async def evaluate(
    rim: Rim, prompts: Sequence[HeldOut], policy: str, k: int, seed: int
) -> tuple[Outcome, ...]:
    """What `policy`, a model of the engine, makes of the prompts, in their order.

    A prompt whose verifiers cannot be used any more is left out. Raises `EngineError` when one
    could not be answered.
    """
    apart = replace(
        rim,
        store=NowhereStore(),
        cache=MemoryCache(ttl_s=60.0, max_bytes=0, clock=rim.clock),
        policies=None,
    )
    turns: dict[str, asyncio.Semaphore] = {}

    async def one(prompt: HeldOut) -> Outcome | None:
        engine = prompt.task.engine
        if engine not in turns:
            turns[engine] = asyncio.Semaphore(_at_once(rim, engine, k + 1))
        async with turns[engine]:
            return await _outcome(apart, prompt, policy, k, seed)

    outcomes = await _all_of(*(one(prompt) for prompt in prompts))
    return tuple(outcome for outcome in outcomes if outcome is not None)


async def _all_of(*work: Coroutine[Any, Any, T]) -> list[T]:
    """What all came to. Where one fails, the others have ended before it is told."""
    doing = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*doing)
    finally:
        for each in doing:
            each.cancel()
        await asyncio.gather(*doing, return_exceptions=True)


def _at_once(rim: Rim, engine: str, samples: int) -> int:
    """Prompts in flight, of so many samples each. More than the engine has room for would be turned
    away, not queued."""
    settings = rim.settings.engines.get(engine)
    room = settings.max_inflight // ITS_SHARE // samples if settings else 1
    return max(1, min(AT_ONCE, room))


async def _outcome(rim: Rim, prompt: HeldOut, policy: str, k: int, seed: int) -> Outcome | None:
    for wait_s in WAITS_S[:ITS_VERIFIERS]:
        await asyncio.sleep(wait_s)
        try:
            drawn, greedy = await _all_of(
                _answer(rim, prompt, policy, k, seed, greedy=False),
                _answer(rim, prompt, policy, 1, seed, greedy=True),
            )
        except RequestError:
            continue
        outcome = outcome_of(drawn, greedy, Side(prompt.cluster, "gate"))
        return replace(outcome, slices={**outcome.slices, **prompt.slices})
    return None


async def _answer(
    rim: Rim, prompt: HeldOut, policy: str, k: int, seed: int, *, greedy: bool
) -> Group:
    for wait_s in WAITS_S:
        await asyncio.sleep(wait_s)
        task = _asked(rim, prompt, policy, k, seed, greedy=greedy)
        opened = await open_task(task, rim)
        # Another model's answer would say nothing of this one.
        group = await answer(replace(opened, plan=replace(opened.plan, fallback="")), rim)
        if group.error is None and _is_whole(group, k):
            return group
        if group.error is not None and 400 <= group.error.status < 429:
            break  # the server will not have it, however often it is asked
    why = group.error.message if group.error else "some of its samples did not end"
    raise EngineError(f"{policy} did not answer a held-out prompt: {why}")


def _is_whole(group: Group, k: int) -> bool:
    """A policy whose samples are cut more often must not look as good as one that ends them."""
    ended = [each for each in group.scored if each.sample.finish_reason is not None]
    return len(ended) >= k


def _asked(rim: Rim, prompt: HeldOut, policy: str, k: int, seed: int, *, greedy: bool) -> Task:
    """The task as it is put to a policy. Its id, by which verifiers are drawn, is the prompt's."""
    task, kind = prompt.task, "greedy" if greedy else "sampled"
    said = json.dumps([task.messages, prompt.cluster, seed, kind], sort_keys=True, default=str)
    digest = hashlib.sha256(said.encode()).digest()
    temperature = 0.0 if greedy else task.parameters.temperature
    return replace(
        task,
        trace_id=f"chatcmpl-{ULID.from_bytes(digest[:16])}",
        received_at=rim.clock(),
        model=policy,
        upstream_model=policy,
        choices=k,
        stream=False,
        store=False,
        parameters=replace(
            task.parameters, temperature=temperature, seed=seed_of(seed, digest.hex())
        ),
        options=replace(
            task.options,
            mode="always",
            n=k,
            rule="fixed",
            cache="off",
            deadline_ms=DEADLINE_MS,
            on_unverified="return",
            asked=_SET,
        ),
    )


async def held_out_of_log(database: AsyncEngine, engine: str, *, most: int) -> tuple[HeldOut, ...]:
    """Prompts of the log's side `gate`, newest first, one of each cluster. Raises `StoreError`."""
    query = (
        select(groups.c.trace_id, groups.c.cluster)
        .where(groups.c.split == "gate", groups.c.content == "full", groups.c.engine == engine)
        .order_by(groups.c.trace_id.desc())
        .limit(LOOKED_AT * most)
    )
    rows = (await transact(database, lambda c: c.execute(query))).all()
    newest: dict[str, str] = {}
    for trace_id, cluster in rows:
        if cluster is not None:
            newest.setdefault(cluster, trace_id)
    wanted = list(newest.values())[:most]
    found = {}
    async for logged in TrainingLog(database).named(wanted):
        if logged.side is not None:
            found[logged.group.trace_id] = HeldOut(
                task=logged.group.task, cluster=logged.side.cluster
            )
    return tuple(found[trace_id] for trace_id in wanted if trace_id in found)


def held_out_of_file(file: Path, engine: str) -> tuple[HeldOut, ...]:
    """Prompts of a JSON Lines file. Raises `ConfigError` that names line and field."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigError(f"{file} cannot be read: {unreadable}") from None
    return tuple(
        _held_out(line, engine, at=f"{file.name} line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _held_out(line: str, engine: str, *, at: str) -> HeldOut:
    try:
        row = json.loads(line)
    except ValueError as broken:
        raise ConfigError(f"{at} is not JSON: {broken}") from None
    if not isinstance(row, Mapping):
        raise ConfigError(f"{at} is not a JSON object")
    if unknown := sorted(row.keys() - KEYS):
        raise ConfigError(f"{at}: '{unknown[0]}' is not known; known: {', '.join(sorted(KEYS))}")
    messages = _messages(row, at)
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
    cluster = str(row.get("cluster") or digest)
    limit = row.get("max_tokens")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigError(f"{at}: 'max_tokens' must be an integer from 1")
    task = Task(
        trace_id=f"chatcmpl-{ULID()}",
        request_id="evaluate",
        received_at=0.0,
        tenant="local",
        model=engine,
        alias=engine,
        engine=engine,
        messages=messages,
        parameters=Parameters(max_tokens=limit),
        options=Options(verifiers=_verifiers(row, at)),
    )
    return HeldOut(
        task=task, cluster=cluster, slices={"slice": str(row["slice"])} if "slice" in row else {}
    )


def _messages(row: Mapping[str, Any], at: str) -> tuple[dict[str, Any], ...]:
    if "prompt" in row and "messages" not in row and isinstance(row["prompt"], str):
        return ({"role": "user", "content": row["prompt"]},)
    messages = row.get("messages")
    fits = (
        "prompt" not in row
        and isinstance(messages, list)
        and all(isinstance(m, Mapping) and isinstance(m.get("role"), str) for m in messages)
        and any(m["role"] == "user" and text_of(m.get("content")) for m in messages)
    )
    if not fits or not isinstance(messages, list):
        raise ConfigError(f"{at}: give 'prompt', a text, or 'messages' with one of the user's")
    return tuple(dict(message) for message in messages)


def _verifiers(row: Mapping[str, Any], at: str) -> tuple[VerifierSpec, ...]:
    written = row.get("verifiers", [])
    fits = isinstance(written, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("use"), str) for each in written
    )
    if not fits:
        raise ConfigError(f'{at}: \'verifiers\' must be a list like [{{"use": "number"}}]')
    return tuple(
        VerifierSpec(
            use=each["use"],
            options={name: value for name, value in each.items() if name != "use"},
            param=f"verifiers[{place}]",
        )
        for place, each in enumerate(written)
    )
