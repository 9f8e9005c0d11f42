"""The catalog of upstream models: fresh enough, and nobody waits for it twice."""

from __future__ import annotations

from app.api.models import TTL_S, Catalog
from app.engines.openai import OpenAIEngine
from app.settings import EngineSettings
from tests.fakes.upstream import FakeUpstream, always, model_list, scripted


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_list_is_remembered_and_then_read_again() -> None:
    clock = Clock()
    async with FakeUpstream(scripted("4"), always(model_list("a"))) as fake:
        engine = OpenAIEngine(EngineSettings(base_url=fake.url), "main")
        await engine.start()
        catalog = Catalog(clock)

        assert list(await catalog.models({"main": engine})) == ["a"]
        fake.models = always(model_list("b"))
        assert list(await catalog.models({"main": engine})) == ["a"]
        clock.now += TTL_S + 1
        assert list(await catalog.models({"main": engine})) == ["b"]
        await engine.close()


async def test_a_request_never_waits_for_a_list_that_is_only_old() -> None:
    clock = Clock()
    async with FakeUpstream(scripted("4"), always(model_list("a"))) as fake:
        engine = OpenAIEngine(EngineSettings(base_url=fake.url), "main")
        await engine.start()
        catalog = Catalog(clock)
        await catalog.engines_by_model({"main": engine})
        fake.models = always(model_list("b"))
        clock.now += TTL_S + 1

        assert await catalog.engines_by_model({"main": engine}) == {"a": "main"}
        assert await fake.until(lambda: len(fake.requests) == 2)
        assert list(await catalog.models({"main": engine})) == ["b"]
        await engine.close()


async def test_an_engine_that_is_away_has_no_models_and_hides_no_other() -> None:
    async with FakeUpstream(scripted("4"), always(model_list("a"))) as fake:
        here = OpenAIEngine(EngineSettings(base_url=fake.url), "here")
        away = OpenAIEngine(EngineSettings(base_url="http://127.0.0.1:9/v1"), "away")
        for engine in (here, away):
            await engine.start()

        found = await Catalog().engines_by_model({"away": away, "here": here})

        for engine in (here, away):
            await engine.close()
    assert found == {"a": "here"}
