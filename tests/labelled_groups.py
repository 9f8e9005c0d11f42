"""A log whose difficulty is planted: finished groups that a verifier or a person has judged."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.group import Decision, Group
from app.store.rows import Row, to_rows
from app.store.tables import groups, labels, payloads, samples, verdicts
from tests.routing.planted import easy_prompt, hard_prompt
from tests.store.groups import START, make_group, trace_id_at

POLICY = "smol"
EVERY_S = 10.0


def judged(at: float, prompt: str, answers: Sequence[str], **plan: Any) -> Group:
    """A group on this prompt; 42 is right and is served."""
    winner = answers.index("42") if "42" in answers else 0
    status = "verified" if "42" in answers else "unverified"
    return make_group(
        at,
        answers=answers,
        task={"messages": ({"role": "user", "content": prompt},)},
        plan={"policy": POLICY, **plan},
        decision=Decision(status=status, winner=winner, returned=(winner,)),
    )


def planted_groups(count: int, *, start: float = START, seed: int = 0) -> Iterator[Group]:
    """Half easy (all samples right), half hard (one or two of three are wrong, the vote is not)."""
    draw = random.Random(seed)
    for number in range(count):
        at = start + EVERY_S * number
        if draw.random() < 0.5:
            yield judged(at, easy_prompt(draw), ("42", "42", "42"))
        else:
            answers = draw.choice((("41", "42", "42"), ("41", "40", "42"), ("42", "42", "42")))
            yield judged(at, hard_prompt(draw), answers)


def unchecked(group: Group) -> Group:
    """The same where no verifier had a word."""
    scored = tuple(replace(each, verdicts=(), reward=None) for each in group.scored)
    return replace(group, scored=scored, plan=replace(group.plan, verifiers=()))


def word_on(group: Group, kind: str, at: float | None = None) -> Row:
    """A person's label, given a second later where `at` does not say when."""
    given = group.task.received_at + 1 if at is None else at
    return {
        "id": trace_id_at(given).removeprefix("chatcmpl-"),
        "trace_id": group.trace_id,
        "kind": kind,
        "created_at": given,
        "author": "ann",
    }


async def put(engine: AsyncEngine, *kept: Group, words: Sequence[Row] = ()) -> None:
    """Put groups into the database as the drainer does, and labels, all in one go."""
    views = [to_rows(group) for group in kept]
    async with engine.begin() as connection:
        for table, rows in (
            (groups, [view.group for view in views]),
            (payloads, [view.payload for view in views]),
            (samples, [row for view in views for row in view.samples]),
            (verdicts, [row for view in views for row in view.verdicts]),
            (labels, list(words)),
        ):
            if rows:
                await connection.execute(insert(table), rows)
