"""From a request through the gateway to the rows of a night."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import orjson
import pytest

from app.retrain.examples import read_groups
from app.retrain.select import Selecting, Selection, SelectSettings, rows_to_train
from app.retrain.sieve import Lineage
from app.store.database import open_engine
from app.store.training_log import LoggedGroup, TrainingLog
from tests.fakes.upstream import (
    Behaviour,
    FakeUpstream,
    Request,
    Steps,
    always,
    model_list,
    scripted,
)

VLLM = always(model_list("m", owned_by="vllm"))
CHECK = {"use": "number", "reference": "42"}


async def ask(url: str, prompt: str) -> str:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "verify": {"mode": "always", "verifiers": [CHECK], "n": 8},
    }
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        reply = await client.post("/v1/chat/completions", json=body)
        listed = await client.get("/v1/traces")  # what was appended is in the database now
    assert (reply.status_code, listed.status_code) == (200, 200), reply.text
    trace_id: str = reply.json()["id"]
    return trace_id


async def read_night(settings: Any) -> tuple[list[LoggedGroup], Selection]:
    engine = open_engine(settings.store.url or f"sqlite+aiosqlite:///{settings.data}/verivote.db")
    selecting = Selecting(Lineage(parent="m"), SelectSettings(min_groups=1, min_samples=2))
    found = []
    async for logged in TrainingLog(engine).between(0, 1e12):
        # Whatever side its hash says: this is about the rest.
        train = dataclasses.replace(logged.side, split="train") if logged.side else None
        found.append(dataclasses.replace(logged, side=train))
        selecting.look_at(found[-1])
    await engine.dispose()
    return found, selecting.finish(seed=0)


async def test_what_a_vllm_drew_trains_as_it_was_drawn(gateway: Any) -> None:
    drawn = scripted("40", "41", "39", "38", "37", "36", "42", extras=True)
    async with FakeUpstream(drawn, VLLM) as fake:
        running = gateway(fake.url, defaults={"temperature": 1.0})
        trace_id = await ask(running.url, "What is 6 * 7?")
        log, selection = await read_night(running.settings)
    (kept,) = selection.kept
    rows = rows_to_train(kept, log[0])
    (group,) = read_groups(orjson.loads(orjson.dumps(row)) for row in rows)

    assert selection.trace_ids() == [trace_id]
    assert sorted(set(group.rewards)) == [0.0, 1.0]
    # The fake's id of a word is the sum of its bytes.
    assert [list(e.completion_ids) for e in group.examples] == [
        [sum(str(row["text"]).encode())] for row in rows
    ]
    assert {tuple(e.mu or ()) for e in group.examples} == {(-0.5,)}
    assert {(row["policy"], row["temperature"], row["top_p"]) for row in rows} == {("m", 1.0, 1.0)}
    assert {row["verdicts"][0]["verifier"] for row in rows} == {"number"}


def uneven(behaviour: Behaviour) -> Behaviour:
    """One token id too many for the log probabilities of each choice."""

    def answer(request: Request) -> Steps:
        steps = behaviour(request)
        whole = b"".join(step for step in steps.steps if isinstance(step, bytes))
        return dataclasses.replace(
            steps, steps=(whole.replace(b'"token_ids":[', b'"token_ids":[7,'),)
        )

    return answer


@pytest.mark.parametrize(
    ("reason", "behaviour", "models"),
    [
        ("no_token_ids", scripted("40", "41", "39", "42", extras=True), None),
        ("misaligned_logprobs", uneven(scripted("40", "41", "39", "42", extras=True)), VLLM),
    ],
)
async def test_what_came_without_ids_or_with_uneven_ones_is_stored_so_and_never_trains(
    gateway: Any, reason: str, behaviour: Behaviour, models: Behaviour | None
) -> None:
    """pc-048: text is not encoded again, and no log probability is made up."""
    async with FakeUpstream(behaviour, models) as fake:
        running = gateway(fake.url, defaults={"temperature": 1.0})
        await ask(running.url, "What is 6 * 7?")
        (logged,), selection = await read_night(running.settings)
    rows = logged.rows()

    assert selection.kept == ()
    assert selection.left_out == {reason: 1}
    assert {row["not_trainable"] for row in rows} == {reason}
    assert not any(row["trainable"] for row in rows)
    if reason == "no_token_ids":
        assert {row["token_ids"] for row in rows} == {None}
    else:
        assert {len(row["token_ids"]) - len(row["logprobs"]) for row in rows} == {1}
        assert all(mu == -0.5 for row in rows for mu in row["logprobs"])
