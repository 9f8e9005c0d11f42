"""Choosing from the log what a night trains on, away from the event loop that serves.

Reading a week of groups keeps a processor busy for seconds, so it is done in a thread with an
event loop and a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from app.retrain.select import Selecting, Selection, SelectSettings, rows_to_train
from app.retrain.sieve import Lineage
from app.settings import RetrainSettings
from app.store.database import open_engine
from app.store.training_log import LoggedGroup, TrainingLog
from app.store.training_rows import hash_prompt

DIGESTS = ("base_model_digest", "tokenizer_digest", "chat_template_digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of the log, in Unix seconds."""

    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection with the rows that go to the trainer, in the order of training."""

    selection: Selection
    rows: tuple[dict[str, Any], ...]
    """Empty where the night is skipped or only looked at."""


def select_settings(settings: RetrainSettings) -> SelectSettings:
    return SelectSettings(
        objective=settings.objective,
        min_samples=settings.min_samples,
        min_groups=settings.min_groups,
        max_groups=settings.max_groups,
        max_tokens=settings.token_budget,
        groups_per_prompt=settings.groups_per_prompt,
        tenant_share=settings.tenant_share,
        trusted=frozenset(settings.trusted),
        judges=settings.judges,
    )


async def choose(
    url: str,
    window: Window,
    lineage: Lineage,
    settings: RetrainSettings,
    *,
    seed: int,
    with_rows: bool,
) -> Chosen:
    """Look at the log of the database at `url`. Raises `StoreError`."""

    async def work() -> Chosen:
        engine = open_engine(url)
        try:
            return await _choose(engine, window, lineage, settings, seed=seed, with_rows=with_rows)
        finally:
            await engine.dispose()

    return await asyncio.to_thread(asyncio.run, work())


async def _choose(
    engine: AsyncEngine,
    window: Window,
    lineage: Lineage,
    settings: RetrainSettings,
    *,
    seed: int,
    with_rows: bool,
) -> Chosen:
    log = TrainingLog(engine)
    digests = await usual_digests(log.between(window.since, window.until), lineage.parent)
    lineage = replace(
        lineage,
        base_model_digest=digests.get("base_model_digest"),
        # The log's majority may be wrong; the folder that is trained on is not.
        tokenizer_digest=lineage.tokenizer_digest or digests.get("tokenizer_digest"),
        chat_template_digest=digests.get("chat_template_digest"),
    )
    selecting = Selecting(lineage, select_settings(settings))
    async for logged in log.between(window.since, window.until):
        selecting.look_at(logged)
    selection = selecting.finish(seed)
    if selection.skip or not with_rows:
        return Chosen(selection, ())
    kept = {each.candidate.trace_id: each for each in selection.kept}
    rows: dict[str, list[dict[str, Any]]] = {}
    async for logged in log.named(selection.trace_ids()):
        trace_id = logged.group.trace_id
        rows[trace_id] = rows_to_train(kept[trace_id], logged)
    ordered = (row for trace_id in selection.trace_ids() for row in rows.get(trace_id, ()))
    return Chosen(selection, tuple(ordered))


async def usual_digests(log: AsyncIterator[LoggedGroup], parent: str) -> Mapping[str, str]:
    """What most of the parent's samples say of its tokenizer, template and base.

    A sample that says otherwise came from another model under its name. Each prompt of a tenant
    has one voice, so that nobody outvotes the rest by repeating himself.
    """
    said: dict[str, dict[tuple[str, str], str]] = {name: {} for name in DIGESTS}
    async for logged in log:
        group = logged.group
        voice = (group.task.tenant, hash_prompt(group) or "")
        if group.plan.policy != parent:
            continue
        for call in group.calls:
            for name in DIGESTS:
                if call.origin is not None and (digest := getattr(call.origin, name)):
                    said[name].setdefault(voice, digest)
    counts = {name: Counter(voices.values()) for name, voices in said.items()}
    return {
        name: max(found, key=lambda digest: (found[digest], digest))
        for name, found in counts.items()
        if found
    }
