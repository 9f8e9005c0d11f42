"""Short words for engine tests: an engine in front of a fake upstream, and rounds drawn from it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.engines.base import DeltaSink, Drawing
from app.engines.openai import OpenAIEngine
from app.errors import VerivoteError
from app.plan import Draw, Plan
from app.sample import Delta, Sample
from app.settings import EngineSettings
from app.task import Task
from tests.builders import a_plan, a_task
from tests.fakes.upstream import Behaviour, FakeUpstream, Steps, always, model_list

VLLM = always(model_list("smol", owned_by="vllm"))


@asynccontextmanager
async def an_engine(fake: FakeUpstream | str, **settings: Any) -> AsyncIterator[OpenAIEngine]:
    url = fake if isinstance(fake, str) else fake.url
    given = EngineSettings(base_url=url, **settings)
    engine = OpenAIEngine(given, "main", rng=random.Random(1))
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def faked(
    completions: Behaviour, models: Behaviour | None = None, **settings: Any
) -> AsyncIterator[tuple[FakeUpstream, OpenAIEngine]]:
    """A fake upstream and an engine in front of it."""
    async with FakeUpstream(completions, models) as fake, an_engine(fake, **settings) as engine:
        yield fake, engine


def a_draw(n: int = 1, **changes: Any) -> Draw:
    return Draw(**{"round": 1, "n": n, "first_index": 0, "seed": 11, **changes})


def begin(
    engine: OpenAIEngine,
    n: int = 1,
    *,
    task: Task | None = None,
    plan: Plan | None = None,
    on_delta: DeltaSink | None = None,
    **changes: Any,
) -> Drawing:
    return engine.draw(task or a_task(), plan or a_plan(), a_draw(n, **changes), on_delta)


async def take(drawing: Drawing) -> tuple[list[Sample], VerivoteError | None]:
    """Every sample of the round, and the error that ended it."""
    samples: list[Sample] = []
    try:
        async for sample in drawing:
            samples.append(sample)
    except VerivoteError as error:
        return samples, error
    return samples, None


async def live(steps: Steps, **settings: Any) -> tuple[list[Delta], list[Any], Any, Any]:
    """One live sample: its deltas, the samples, the error and the calls."""
    deltas: list[Delta] = []
    async with faked(always(steps), **settings) as (_, engine):
        drawing = begin(engine, on_delta=deltas.append)
        samples, error = await take(drawing)
    return deltas, samples, error, drawing.calls
