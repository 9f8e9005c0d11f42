"""Texts and programs in one round."""

from __future__ import annotations

from app.engines.wire import PROGRAM_WANTED
from tests.builders import a_plan
from tests.engines.drawing import VLLM, begin, faked, take
from tests.fakes.upstream import (
    Behaviour,
    Request,
    Steps,
    always,
    error_reply,
    scripted,
)


def by_kind(texts: Behaviour, programs: Behaviour) -> Behaviour:
    """A model that writes a program where it is asked for one."""

    def answer(request: Request) -> Steps:
        wanted = PROGRAM_WANTED in request.body["messages"][-1]["content"]
        return (programs if wanted else texts)(request)

    return answer


async def test_texts_and_programs_of_a_round_are_one_call_each_at_the_same_time() -> None:
    upstream = by_kind(scripted("4", "5", word_s=0.2), scripted("print(4)", word_s=0.2))
    async with faked(upstream) as (fake, engine):
        drawing = begin(engine, 3, programs=1, first_index=3)
        samples, error = await take(drawing)

    assert error is None
    assert sorted((s.index, s.kind, s.text) for s in samples) == [
        (3, "text", "4"),
        (4, "text", "5"),
        (5, "program", "print(4)"),
    ]
    assert sorted(request.body.get("n", 1) for request in fake.drawn) == [1, 2]
    assert max(c.started_ms for c in drawing.calls) < min(c.finished_ms for c in drawing.calls)
    assert len({call.index for call in drawing.calls}) == len(drawing.calls) == 2
    assert len({call.seed for call in drawing.calls}) == 2


async def test_a_round_of_programs_alone_is_one_call() -> None:
    async with faked(scripted("print(4)")) as (fake, engine):
        samples, _ = await take(begin(engine, 2, programs=2))

    assert [s.kind for s in samples] == ["program", "program"]
    assert [request.body["n"] for request in fake.drawn] == [2]


async def test_programs_are_filled_up_where_the_server_ignores_n() -> None:
    upstream = by_kind(scripted("4", ignores_n=True), scripted("print(4)", ignores_n=True))
    async with faked(upstream) as (_fake, engine):
        drawing = begin(engine, 5, programs=2)
        samples, _ = await take(drawing)

    assert sorted((s.index, s.kind) for s in samples) == [
        *((i, "text") for i in range(3)),
        *((i, "program") for i in (3, 4)),
    ]
    assert len(drawing.calls) <= 5


async def test_a_program_is_never_trained_on_because_the_task_asked_for_none() -> None:
    plan = a_plan(temperature=1.0)
    upstream = by_kind(scripted("4", extras=True), scripted("print(4)", extras=True))
    async with faked(upstream, VLLM) as (_fake, engine):
        samples, _ = await take(begin(engine, 2, programs=1, plan=plan))

    told = {s.kind: (s.trainable, s.not_trainable) for s in samples}
    assert told == {"text": (True, ""), "program": (False, "program")}


async def test_texts_come_when_programs_fail_and_the_failed_call_is_kept() -> None:
    upstream = by_kind(scripted("4"), always(error_reply(500, "no")))
    async with faked(upstream, retries=0) as (_fake, engine):
        drawing = begin(engine, 3, programs=1)
        samples, error = await take(drawing)

    assert error is None
    assert [s.kind for s in samples] == ["text", "text"]
    assert sorted(call.error for call in drawing.calls) == ["", "upstream_error"]
