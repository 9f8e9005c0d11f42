"""The plain calls of an engine, on a server that misbehaves on order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from openai.types import DecisionCreateParams
from openai.types.decision import Decision
from pydantic import ConfigDict, TypeAdapter, with_config

from app.engines.openai import OpenAIEngine
from app.errors import EngineError, EngineRateLimited, EngineUnavailable
from app.settings import EngineSettings
from tests.fakes.upstream import (
    Behaviour,
    FakeUpstream,
    Request,
    Steps,
    always,
    error_reply,
    in_turn,
    json_reply,
    refusing,
    scripted,
)
from verifiers.base import (
    AnswerContract,
    Candidate,
    Check,
    Decided,
    Decides,
    Question,
    VerifierSpec,
)
from verifiers.run import Runner

MESSAGES = [{"role": "user", "content": "Grade this."}]
SCHEMA = {"type": "object"}
QUESTIONS = [
    Question(id="r1", text="Is it polite?", words={"no": "it is rude", "yes": "it is"}),
    Question(id="r2", text="Is it short?", words={"no": "it is long", "yes": "it is"}),
]


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


# By labels --------------------------------------------------------------------------------------


STRICT = TypeAdapter(with_config(ConfigDict(extra="forbid"))(DecisionCreateParams))
"""The request as OpenAI's own client declares it."""


def choosing(choose: Callable[[str, list[str]], str], confidence: float = 0.9) -> Behaviour:
    """A server that speaks the published schema, held to OpenAI's own types on both sides.

    vLLM takes less: text input and `choice`, `name`, `instructions`, `value`, `description`.
    """

    def answer(request: Request) -> Steps:
        assert request.path == "/v1/decisions"
        STRICT.validate_python(request.body)
        assert isinstance(request.body["input"], str)
        answers = [decide(request.body["input"], each) for each in request.body["questions"]]
        spent = {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": len(answers),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 9 + len(answers),
        }
        reply = {"model": request.body["model"], "answers": answers, "usage": spent}
        Decision.model_validate(reply)
        return json_reply(reply)

    def decide(material: str, question: dict[str, Any]) -> dict[str, Any]:
        words = [choice["value"] for choice in question["choices"]]
        word = choose(material, words)
        rest = (1 - confidence) / (len(words) - 1)
        return {
            "type": question["type"],
            "name": question["name"],
            "choice": word,
            "confidence": confidence,
            "probabilities": [
                {"value": each, "probability": confidence if each == word else rest}
                for each in words
            ],
        }

    return answer


def by_path(decisions: Behaviour | Steps, chat: Behaviour) -> Behaviour:
    decide = always(decisions) if isinstance(decisions, Steps) else decisions
    return lambda each: decide(each) if each.path.endswith("/decisions") else chat(each)


def engine_on(fake: FakeUpstream) -> OpenAIEngine:
    return OpenAIEngine(EngineSettings(base_url=fake.url, retries=0), "main")


async def test_questions_are_answered_by_labels_where_the_server_can():
    async with FakeUpstream(choosing(lambda material, words: words[-1], 0.8)) as fake:
        engine = engine_on(fake)
        found = await engine.ask.decide("Dear all, hello.", QUESTIONS)
        await engine.close()

    assert isinstance(engine.ask, Decides)
    assert found == [Decided(word="yes", confidence=0.8)] * 2
    (request,) = fake.drawn
    assert request.body == {
        "model": "m",
        "input": "Dear all, hello.",
        "questions": [
            {
                "type": "choice",
                "name": question.id,
                "instructions": question.text,
                "choices": [{"value": w, "description": m} for w, m in question.words.items()],
            }
            for question in QUESTIONS
        ],
    }


@pytest.mark.parametrize(
    "reply",
    [
        json_reply({"detail": "Not Found"}, 404),
        json_reply({"detail": "Method Not Allowed"}, 405),
        error_reply(404, "The model `m` does not exist."),
        error_reply(400, "Only gpt-6-luna is supported.", param="model"),
        error_reply(501, "The model does not support the Decisions API"),
        error_reply(500, "broken"),
        json_reply({"detail": "Not Found"}),
        json_reply({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}),
        Steps((b"<html>",), content_type="text/html"),
    ],
    ids=lambda reply: f"{reply.status} {reply.steps[0][:40]!r}",
)
async def test_a_server_without_the_route_is_tried_once_by_many_at_once(reply):
    async with FakeUpstream(always(reply)) as fake:
        engine = engine_on(fake)
        first = await asyncio.gather(*(engine.ask.decide("x", QUESTIONS) for _ in range(4)))
        later = await engine.ask.decide("x", QUESTIONS)
        await engine.close()

    assert [*first, later] == [None] * 5
    assert len(fake.drawn) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (error_reply(503, "busy"), EngineUnavailable),
        (error_reply(429, "slow down"), EngineRateLimited),
    ],
)
async def test_a_server_that_is_away_is_tried_again_later(reply, error):
    replies = in_turn(reply, choosing(lambda material, words: "no"))
    async with FakeUpstream(replies) as fake:
        engine = engine_on(fake)
        with pytest.raises(error):
            await engine.ask.decide("x", QUESTIONS)
        found = await engine.ask.decide("x", QUESTIONS)
        await engine.close()

    assert [each.word for each in found] == ["no", "no"]


ANSWER = {"type": "choice", "name": "r1", "choice": "yes", "confidence": 0.9}


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [ANSWER],
        [ANSWER, {**ANSWER, "name": "r1"}],
        [ANSWER, {**ANSWER, "name": None}],
        [ANSWER, {**ANSWER, "name": "r2", "choice": "perhaps"}],
        [ANSWER, {**ANSWER, "name": "r2", "choice": True}],
        [ANSWER, {**ANSWER, "name": "r2", "choice": ["yes"]}],
        [ANSWER, {**ANSWER, "name": "r2", "confidence": "high"}],
        [ANSWER, {**ANSWER, "name": "r2", "confidence": True}],
        [ANSWER, {"type": "refusal", "name": "r2"}],
        [ANSWER, "yes"],
        "yes",
    ],
    ids=str,
)
async def test_a_decision_that_is_none_leaves_the_question_to_words_and_the_route_in_use(answers):
    good = choosing(lambda material, words: "yes")
    async with FakeUpstream(in_turn(good, json_reply({"answers": answers}), good)) as fake:
        engine = engine_on(fake)
        found = [await engine.ask.decide("x", QUESTIONS) for _ in range(3)]
        await engine.close()

    assert [each is None for each in found] == [False, True, False]


async def test_more_questions_than_a_server_takes_are_not_sent():
    async with FakeUpstream(choosing(lambda material, words: "yes")) as fake:
        engine = engine_on(fake)
        found = await engine.ask.decide("x", QUESTIONS * 33)
        await engine.close()

    assert (found, fake.drawn) == (None, [])


async def judge(fake: FakeUpstream, text: str, **options: object):
    engine = engine_on(fake)
    runner = Runner(ask=engine.ask)
    spec = VerifierSpec(use="judge", options={"rubric": ["Names the city."], **options})
    try:
        panel = await runner.prepare([spec], Check(prompt="Which city?"))
        return (await runner.judge(panel, AnswerContract(), Candidate(text=text))).verdicts[0]
    finally:
        await runner.close()
        await engine.close()


def by_city(material: str, words: list[str]) -> str:
    return "met" if "Canberra" in material else "not_met"


IN_WORDS = scripted('{"items": [{"id": "r1", "reasons": "It does.", "mark": "partly"}]}')


@pytest.mark.parametrize(("text", "status"), [("Canberra.", "pass"), ("Sydney.", "fail")])
async def test_a_judge_grades_by_labels_with_the_same_verdicts(text, status):
    async with FakeUpstream(choosing(by_city)) as fake:
        verdict = await judge(fake, text, votes=2)

    assert (verdict.status, verdict.score) == (status, float(status == "pass"))
    assert verdict.evidence["confidence"] == {"r1": 0.9}
    assert len(fake.drawn) == 3  # two votes and a known-bad answer


async def test_a_judge_that_reads_labels_may_not_pass_a_known_bad_answer_either():
    async with FakeUpstream(choosing(lambda material, words: "met")) as fake:
        verdict = await judge(fake, "Canberra.")

    assert (verdict.status, verdict.reason) == ("error", "judge_passed_a_known_bad_answer")


async def test_a_label_of_which_the_model_is_not_sure_is_asked_again_in_words():
    unsure = choosing(lambda material, words: "met", 0.4)
    async with FakeUpstream(by_path(unsure, IN_WORDS)) as fake:
        verdict = await judge(fake, "Canberra.", known_bad=[])

    assert (verdict.status, verdict.score) == ("fail", 0.5)
    assert verdict.evidence["reasons"] == {"r1": "It does."}
    assert [request.path for request in fake.drawn] == ["/v1/decisions", "/v1/chat/completions"]


async def test_a_judge_without_the_route_is_asked_in_words():
    missing = json_reply({"detail": "Not Found"}, 404)
    async with FakeUpstream(by_path(missing, IN_WORDS)) as fake:
        verdict = await judge(fake, "Canberra.", known_bad=[], votes=3)

    assert verdict.evidence["votes"] == [0.5, 0.5, 0.5]
    paths = [request.path for request in fake.drawn]
    assert sorted(paths) == ["/v1/chat/completions"] * 3 + ["/v1/decisions"]
