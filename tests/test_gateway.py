"""The path of a request over real parts: engine on a socket, verifiers, cache, spool."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.cache.memory import MemoryCache
from app.engines.openai import OpenAIEngine
from app.errors import RequestError
from app.gateway import Rim, answer, open_task
from app.group import Group
from app.sample import Delta
from app.settings import EngineSettings, Settings
from app.store.sql import SqlStore
from app.task import Options, Task
from tests.builders import a_task
from tests.fakes.upstream import (
    HOLD,
    Behaviour,
    Cut,
    FakeUpstream,
    chunk,
    error_reply,
    events,
    holding,
    in_turn,
    piece,
    scripted,
)
from verifiers.base import VerifierSpec
from verifiers.run import Runner

WORDS = "Tom has 5 apples and buys 7 more. How many apples does Tom have?"


@asynccontextmanager
async def rim_over(upstream: Behaviour, tmp_path: Path) -> AsyncIterator[tuple[Rim, FakeUpstream]]:
    async with FakeUpstream(upstream) as fake:
        engine = EngineSettings(base_url=fake.url, retries=0)
        settings = Settings(engines={"main": engine}, data=tmp_path)
        store = SqlStore(
            f"sqlite+aiosqlite:///{tmp_path}/t.db", tmp_path / "spool.db", clock=time.time
        )
        rim = Rim(
            settings=settings,
            engines={"main": OpenAIEngine(engine, "main")},
            runner=Runner(),
            cache=MemoryCache(ttl_s=60, max_bytes=2**20, clock=time.time),
            store=store,
        )
        parts = (store, rim.runner, rim.engines["main"])
        for part in parts:
            await part.start()
        try:
            yield rim, fake
        finally:
            for part in reversed(parts):
                await part.close()


def asked(prompt: str = "What is 6 * 7?", number: int = 0, **changes: Any) -> Task:
    return a_task(
        prompt,
        trace_id=f"chatcmpl-01JD{number:022d}",
        received_at=time.time(),
        **changes,
    )


async def answered(rim: Rim, task: Task, on_delta: Any = None) -> Group:
    return await answer(await open_task(task, rim), rim, on_delta)


async def test_a_verifier_settles_a_split_vote(tmp_path):
    async with rim_over(scripted("It is 41.", "It is 41.", "It is 42."), tmp_path) as (rim, _fake):
        group = await answered(rim, asked())

        assert group.decision.status == "verified"
        assert group.winner.sample.text == "It is 42."
        assert group.decision.stop_reason == "verified"
        assert await rim.store.get(group.trace_id) == group


async def test_voting_alone_stops_when_three_agree_and_says_agreed(tmp_path):
    async with rim_over(scripted("12", "11", "12", "12", "12"), tmp_path) as (rim, fake):
        group = await answered(rim, asked(WORDS))

        assert (group.decision.status, group.decision.stop_reason) == ("agreed", "margin")
        assert dict(group.tally.votes) == {"12": 4, "11": 1}
        assert [call.n for call in group.calls] == [3, 2]
        assert len(fake.drawn) == 2


async def test_losers_are_cancelled_and_their_tokens_counted(tmp_path):
    slow = [chunk(piece("The ", index=1)), chunk(piece("answer ", index=1))]
    first = [chunk(piece("42", index=0, finish="stop"))]
    upstream = in_turn(events(*slow, *first, HOLD))
    async with rim_over(upstream, tmp_path) as (rim, fake):
        group = await answered(rim, asked())
        closed = await fake.until(lambda: fake.open_sockets == 0, within_s=1)

        lost = [scored.sample for scored in group.scored if scored.sample.cancelled]
        assert group.decision.status == "verified"
        assert closed
        assert {sample.index: sample.completion_tokens for sample in lost}[1] == 2
        assert group.usage().completion_tokens == 3


async def test_small_talk_gets_one_sample_whose_pieces_go_out_as_they_come(tmp_path):
    pieces: list[Delta] = []
    async with rim_over(scripted("Hello to you"), tmp_path) as (rim, _fake):
        group = await answered(rim, asked("Hi"), pieces.append)

        assert (group.plan.route, len(group.scored)) == ("easy", 1)
        assert [piece.content for piece in pieces if piece.content] == ["Hello", " to", " you"]


async def test_nothing_is_forwarded_before_the_decision_when_there_is_something_to_check(tmp_path):
    pieces: list[Delta] = []
    async with rim_over(scripted("42"), tmp_path) as (rim, _fake):
        await answered(rim, asked(), pieces.append)

        assert pieces == []


async def test_a_verified_answer_is_served_again_without_drawing(tmp_path):
    async with rim_over(scripted("42"), tmp_path) as (rim, fake):
        first = await answered(rim, asked(number=1))
        drawn = len(fake.drawn)
        second = await answered(rim, asked(number=2))

        assert len(fake.drawn) == drawn
        assert second.cache.hit
        assert second.cache.source_trace_id == first.trace_id
        assert second.winner.sample.text == "42"
        assert (await rim.store.get(second.trace_id)).cache.hit


async def test_what_is_only_agreed_is_drawn_again(tmp_path):
    async with rim_over(scripted("12"), tmp_path) as (rim, fake):
        await answered(rim, asked(WORDS, number=1, options=Options(n=3)))
        drawn = len(fake.drawn)
        again = await answered(rim, asked(WORDS, number=2, options=Options(n=3)))

        assert len(fake.drawn) > drawn
        assert not again.cache.hit


async def test_a_hundred_equal_requests_draw_one_group(tmp_path):
    async with rim_over(scripted("42", word_s=0.05), tmp_path) as (rim, fake):
        groups = await asyncio.gather(*(answered(rim, asked(number=i)) for i in range(100)))

        assert len(fake.drawn) == 1
        assert {group.winner.sample.text for group in groups} == {"42"}
        assert sum(group.cache.coalesced for group in groups) == 99
        assert len({group.trace_id for group in groups}) == 100


async def test_when_some_samples_fail_the_rest_answer_and_the_reply_says_so(tmp_path):
    cut = events(chunk(piece("12", index=0, finish="stop")), chunk(piece("1", index=1)), done=False)
    cut = dataclasses.replace(cut, steps=(*cut.steps, Cut()))
    upstream = in_turn(cut, error_reply(500, "out of memory"))
    async with rim_over(upstream, tmp_path) as (rim, _fake):
        group = await answered(rim, asked(WORDS))

        assert group.error is None
        assert group.winner.sample.text == "12"
        assert group.decision.status == "unverified"
        assert group.degraded


async def test_an_engine_that_gives_nothing_is_an_error_and_the_group_is_kept(tmp_path):
    async with rim_over(scripted("x"), tmp_path) as (rim, fake):
        fake.completions = lambda request: error_reply(500, "out of memory")
        group = await answered(rim, asked())
        kept = await rim.store.get(group.trace_id)

        assert (group.error.status, group.error.where) == (502, "engine")
        assert group.decision.winner is None
        assert kept == group


async def test_a_stream_that_is_cut_has_no_made_up_end(tmp_path):
    cut = events(chunk(piece("apple, ")), chunk(piece("pea")), done=False)
    upstream = dataclasses.replace(cut, steps=(*cut.steps, Cut()))
    pieces: list[Delta] = []
    async with rim_over(lambda request: upstream, tmp_path) as (rim, _fake):
        group = await answered(rim, asked("Name fruits, please, as a poem."), pieces.append)
        kept = await rim.store.get(group.trace_id)

        assert "".join(piece.content for piece in pieces) == "apple, pea"
        assert group.error is not None
        assert kept.scored[0].sample.finish_reason is None
        assert not kept.scored[0].sample.trainable
        assert (await rim.cache.stats()).entries == 0


async def test_the_deadline_answers_with_what_is_there(tmp_path):
    upstream = events(chunk(piece("12", index=0, finish="stop")), HOLD)
    async with rim_over(lambda request: upstream, tmp_path) as (rim, _fake):
        group = await answered(rim, asked(WORDS, options=Options(deadline_ms=400)))

        assert group.winner.sample.text == "12"
        assert group.decision.stop_reason == "deadline"
        assert "deadline" in group.degraded


async def test_a_deadline_with_nothing_there_is_an_error(tmp_path):
    async with rim_over(holding(), tmp_path) as (rim, fake):
        group = await answered(rim, asked(WORDS, options=Options(deadline_ms=200)))

        assert (group.error.code, group.error.status) == ("deadline_exceeded", 504)
        assert await fake.until(lambda: fake.open_sockets == 0, within_s=1)


@pytest.mark.parametrize("prompt", ["Hi", WORDS, "What is 6 * 7?"])
async def test_a_client_that_leaves_closes_every_upstream_socket(tmp_path, prompt):
    async with rim_over(holding(), tmp_path) as (rim, fake):
        opened = await open_task(asked(prompt), rim)
        answering = asyncio.create_task(answer(opened, rim))
        assert await fake.until(lambda: len(fake.drawn) > 0)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        closed = await fake.until(lambda: fake.open_sockets == 0, within_s=1)
        drawn = len(fake.drawn)
        kept = await rim.store.get(opened.task.trace_id)

        assert closed
        assert kept.error.code == "client_closed_request"
        assert len(fake.drawn) == drawn
        assert (await rim.cache.stats()).entries == 0


async def test_a_lone_fence_around_json_is_taken_off_before_it_is_checked_and_served(tmp_path):
    form = {"type": "json_object"}
    async with rim_over(scripted('```json\n{"name":"Ada"}\n```'), tmp_path) as (rim, _fake):
        group = await answered(rim, asked("Invent a person.", response_format=form))

        sample = group.winner.sample
        assert sample.text == '{"name":"Ada"}'
        assert sample.raw_text == '```json\n{"name":"Ada"}\n```'
        assert (sample.altered, sample.trainable) == (("code_fence_removed",), False)


async def test_a_bad_verifier_option_is_refused_before_anything_is_drawn(tmp_path):
    spec = VerifierSpec(use="nubmer", param="verify.verifiers[0]")
    async with rim_over(scripted("42"), tmp_path) as (rim, fake):
        with pytest.raises(RequestError, match="number") as refused:
            await open_task(asked(options=Options(verifiers=(spec,))), rim)

        assert refused.value.param == "verify.verifiers[0].use"
        assert fake.drawn == []


async def test_a_reference_from_the_client_decides(tmp_path):
    spec = VerifierSpec(use="number", options={"reference": "12"}, param="verify.verifiers[0]")
    async with rim_over(scripted("11", "11", "12"), tmp_path) as (rim, _fake):
        group = await answered(rim, asked(WORDS, options=Options(verifiers=(spec,))))

        assert (group.decision.status, group.winner.answer.key) == ("verified", "12")


async def test_off_checks_nothing_and_passes_the_clients_parameters_on(tmp_path):
    async with rim_over(scripted("41"), tmp_path) as (rim, fake):
        group = await answered(rim, asked(options=Options(mode="off"), choices=2))

        assert (group.decision.status, len(group.scored)) == ("unverified", 2)
        assert group.plan.verifiers == ()
        assert fake.drawn[0].body.get("temperature") is None
