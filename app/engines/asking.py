"""Plain calls for judges, which want an opinion and not a sample: no group, record or streaming.

In words: messages in, text out, at temperature 0, with a JSON Schema where the server takes one. By
labels: `POST /decisions`, which reads the probability of every answer off one token; OpenAI and
vLLM serve it for some models. A server without it is tried once. What a judge was told is in its
verdict's evidence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.engines.drawing import MAX_REPLY_BYTES, PATH
from app.engines.limits import InflightSamples
from app.engines.probe import Probe
from app.engines.upstream import Upstream, read_capped
from app.engines.wire import ChoiceBuilder, read_json, write_json
from app.errors import (
    EngineError,
    EngineGarbage,
    EngineRateLimited,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
)
from verifiers.base import Decided, Question

log = logging.getLogger("verivote.engines.asking")

DECISIONS_PATH = "/decisions"
MAX_QUESTIONS, MAX_WORDS = 64, 26
"""What vLLM takes; more is put in words."""
AWAY = (EngineUnavailable, EngineRateLimited, EngineTimeout)
"""Faults that say nothing about what the server can do."""


class Asking:
    """Implements `verifiers.base.Ask` and `Decides` on one server."""

    def __init__(self, upstream: Upstream, probe: Probe, inflight: InflightSamples) -> None:
        self._upstream = upstream
        self._probe = probe
        self._inflight = inflight
        self._has_decisions: bool | None = None
        """None until the first attempt has told; False until the gateway restarts."""
        self._trying = asyncio.Lock()

    async def __call__(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any],
        max_tokens: int,
    ) -> str:
        """The text of one reply. Raises `EngineError` or `Overloaded`; a cut reply is none."""
        async with self._room():
            return _text_of(await self._chat(messages, schema, max_tokens))

    async def decide(
        self, material: str, questions: Sequence[Question]
    ) -> Sequence[Decided] | None:
        """An answer to every question, or None where they are to be put in words.

        Raises `EngineError` when the server is away, and `Overloaded`.
        """
        if len(questions) > MAX_QUESTIONS or any(len(q.words) > MAX_WORDS for q in questions):
            return None
        if self._has_decisions is None:
            async with self._trying:  # the others wait for the first to tell
                if self._has_decisions is None:
                    return await self._decide_first(material, questions)
        return await self._decide(material, questions) if self._has_decisions else None

    async def _decide_first(
        self, material: str, questions: Sequence[Question]
    ) -> Sequence[Decided] | None:
        found = await self._decide(material, questions)
        self._has_decisions = found is not None
        how = "judges read labels" if found is not None else "judges are answered in words"
        log.info("engine '%s': %s", self._upstream.name, how)
        return found

    async def _decide(
        self, material: str, questions: Sequence[Question]
    ) -> Sequence[Decided] | None:
        try:
            async with self._room():
                return _decided(await self._post_questions(material, questions), questions)
        except AWAY:
            raise
        except EngineError as declined:
            log.debug("engine '%s' decides nothing: %s", self._upstream.name, declined.message)
            return None

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[None]:
        """For one call, within the engine's `request_s`."""
        limit_s = self._upstream.settings.request_s
        taken = await self._inflight.take(1)
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            raise EngineTimeout(f"The model server took over {limit_s:g} s.") from None
        finally:
            self._inflight.give_back(taken)

    async def _chat(
        self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], max_tokens: int
    ) -> Any:
        """POST, once more for each optional field that the server turns out not to have."""
        facts = await self._probe.facts()
        form = {"name": "opinion", "strict": True, "schema": schema}
        optional = {
            "temperature": 0,
            "response_format": {"type": "json_schema", "json_schema": form},
        }
        while True:
            body = {
                "model": facts.model_for("", self._upstream.settings.model),
                "messages": list(messages),
                facts.tokens_key: max_tokens,
                **{key: value for key, value in optional.items() if key not in facts.refused},
            }
            try:
                return await self._post(PATH, body)
            except EngineRefused as refused:
                if not facts.learn_refusal(refused, body, optional):
                    raise

    async def _post_questions(self, material: str, questions: Sequence[Question]) -> Any:
        """The fields are those that vLLM and OpenAI both take; vLLM refuses all others."""
        facts = await self._probe.facts()
        body = {
            "model": facts.model_for("", self._upstream.settings.model),
            "input": material,
            "questions": [
                {
                    "type": "choice",
                    "name": question.id,
                    "instructions": question.text,
                    "choices": [
                        {"value": word, "description": meaning}
                        for word, meaning in question.words.items()
                    ],
                }
                for question in questions
            ],
        }
        return await self._post(DECISIONS_PATH, body)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        response = await self._upstream.post(
            path,
            write_json(body),
            first_byte_s=self._upstream.settings.request_s,
            on_attempt=lambda: None,
        )
        try:
            return read_json(await read_capped(response, MAX_REPLY_BYTES))
        finally:
            await response.aclose()


def _decided(reply: Any, questions: Sequence[Question]) -> list[Decided]:
    """The answers in the order of the questions. Raises `EngineGarbage` unless all are there."""
    answers = reply.get("answers") if isinstance(reply, Mapping) else None
    if not isinstance(answers, list) or len(answers) != len(questions):
        raise EngineGarbage("The model server sent no decision.")
    return [_decided_one(*pair) for pair in zip(answers, questions, strict=True)]


def _decided_one(answer: Any, question: Question) -> Decided:
    said = answer if isinstance(answer, Mapping) else {}
    word, confidence = said.get("choice"), said.get("confidence")  # a `refusal` has neither
    if said.get("name") != question.id:
        raise EngineGarbage("The model server answered another question.")
    if not isinstance(word, str) or word not in question.words:
        raise EngineGarbage("The model server decided for none of the words.")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise EngineGarbage("The model server sent a decision without a confidence.")
    return Decided(word=word, confidence=float(confidence))


def _text_of(reply: Any) -> str:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise EngineGarbage("The model server sent no choice.")
    builder = ChoiceBuilder(keep_logprobs=False)
    builder.add(choices[0])
    if builder.finish_reason != "stop":
        raise EngineGarbage(f"The model server's reply ended with {builder.finish_reason!r}.")
    return builder.text
