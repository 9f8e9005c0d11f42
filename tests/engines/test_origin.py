"""What samples of a vLLM say of the server that drew them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.engines.fingerprint import CHAT, TEXT, digest_ids
from app.sample import Origin
from tests.engines.drawing import begin, faked, take
from tests.engines.test_probe import like_vllm
from tests.fakes.upstream import (
    Behaviour,
    Request,
    Steps,
    always,
    error_reply,
    json_reply,
    model_list,
    scripted,
)

VLLM = always(model_list("smol", owned_by="vllm"))
NOTHING = json_reply({"detail": "Not Found"}, 404)


def beside(
    split: Callable[[str], list[int]] = lambda text: list(text.encode()),
    *,
    template: str = "<user>{}</user>",
    version: Any = "0.32.0",
) -> Behaviour:
    """`/version` and `/tokenize`, with this tokenizer and template."""

    def answer(request: Request) -> Steps:
        if request.path == "/version":
            return json_reply({"version": version})
        told = request.body
        if "prompt" in told:
            return json_reply({"count": 1, "tokens": split(told["prompt"])})
        chat = "".join(template.format(message["content"]) for message in told["messages"])
        return json_reply({"count": 1, "tokens": split(chat), "token_strs": list(chat)})

    return answer


async def origin_with(behaviour: Behaviour) -> Origin | None:
    """Of the one call of a round."""
    async with faked(like_vllm(True), VLLM) as (fake, engine):
        fake.beside_v1 = behaviour
        await engine.capabilities()
        fake.completions = scripted("4", extras=True)
        drawing = begin(engine, 2)
        await take(drawing)
        (call,) = drawing.calls
        return call.origin


async def test_calls_to_a_vllm_say_its_version_tokenizer_and_template() -> None:
    chat = "".join(f"<user>{message['content']}</user>" for message in CHAT)

    assert await origin_with(beside()) == Origin(
        server_version="vllm 0.32.0",
        tokenizer_digest=digest_ids(list(TEXT.encode())),
        chat_template_digest=digest_ids(list(chat.encode())),
    )


async def test_it_is_asked_once_and_not_for_each_request() -> None:
    async with faked(like_vllm(True), VLLM) as (fake, engine):
        fake.beside_v1 = beside()
        await engine.capabilities()
        fake.completions = scripted("4", extras=True)
        for _ in range(3):
            await take(begin(engine, 2))
        asked = [r.path for r in fake.requests if not r.path.startswith("/v1")]

    assert asked == ["/version", "/tokenize", "/tokenize"]


async def test_another_tokenizer_or_template_has_another_digest() -> None:
    def other(text: str) -> list[int]:
        return [byte + 1 for byte in text.encode()]

    ours = await origin_with(beside())
    theirs = await origin_with(beside(other))
    reworded = await origin_with(beside(template="<human>{}</human>"))
    assert ours is not None
    assert theirs is not None
    assert reworded is not None

    assert theirs.tokenizer_digest != ours.tokenizer_digest
    assert reworded == replace(ours, chat_template_digest=reworded.chat_template_digest)
    assert reworded.chat_template_digest != ours.chat_template_digest


async def test_a_template_that_writes_todays_date_has_no_digest() -> None:
    dated = await origin_with(beside(template=f"{datetime.now(UTC):%d %B %Y}: {{}}"))

    assert dated is not None
    assert dated.chat_template_digest is None
    assert dated.tokenizer_digest is not None


@pytest.mark.parametrize(
    "reply",
    [
        NOTHING,
        error_reply(401, "Unauthorized"),
        error_reply(500, "broken"),
        Steps((b"<html>a page</html>",), content_type="text/html"),
        json_reply([]),
        json_reply({}),
        json_reply({"version": 3, "tokens": "no list"}),
        json_reply({"version": "", "tokens": []}),
        json_reply({"version": None, "tokens": ["a"]}),
    ],
    ids=["nothing", "401", "500", "html", "list", "empty", "types", "blank", "texts"],
)
async def test_what_a_server_does_not_tell_stays_unknown(reply: Steps) -> None:
    """A proxy in front of vLLM often forwards `/v1` and nothing else."""
    assert await origin_with(always(reply)) == Origin()


async def test_of_other_servers_nothing_is_claimed() -> None:
    async with faked(scripted("4")) as (fake, engine):
        drawing = begin(engine, 1)
        await take(drawing)
        (call,) = drawing.calls

    assert call.origin is None
    assert {request.path.partition("/")[2].partition("/")[0] for request in fake.requests} == {"v1"}
