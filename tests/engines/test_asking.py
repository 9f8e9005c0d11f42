"""The plain call of an engine, on a server that misbehaves on order."""

from __future__ import annotations

import pytest

from app.engines.openai import OpenAIEngine
from app.errors import EngineError
from app.settings import EngineSettings
from tests.fakes.upstream import (
    FakeUpstream,
    always,
    error_reply,
    json_reply,
    refusing,
    scripted,
)

MESSAGES = [{"role": "user", "content": "Grade this."}]
SCHEMA = {"type": "object"}


async def ask(fake: FakeUpstream, **settings: object) -> str:
    engine = OpenAIEngine(EngineSettings(base_url=fake.url, retries=0, **settings), "main")
    try:
        return await engine.ask(MESSAGES, schema=SCHEMA, max_tokens=50)
    finally:
        await engine.close()


async def test_a_judge_is_asked_plainly_at_temperature_0_with_a_schema():
    async with FakeUpstream(scripted('{"items": []}')) as fake:
        said = await ask(fake)

    body = fake.drawn[0].body
    assert said == '{"items": []}'
    assert (body["temperature"], body["max_tokens"], body["messages"]) == (0, 50, MESSAGES)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "stream" not in body


async def test_a_server_without_schemas_is_asked_without_one():
    async with FakeUpstream(refusing("response_format", otherwise=scripted("{}"))) as fake:
        said = await ask(fake)

    assert (said, len(fake.drawn)) == ("{}", 2)
    assert "response_format" not in fake.drawn[1].body


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(500, "broken"),
        json_reply({"choices": []}),
        json_reply([]),
        json_reply({"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]}),
        json_reply({"choices": [{"message": {"content": "{}"}}]}),
    ],
)
async def test_what_is_no_whole_reply_is_an_error(reply):
    async with FakeUpstream(always(reply)) as fake:
        with pytest.raises(EngineError):
            await ask(fake)
