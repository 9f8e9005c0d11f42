"""One plain call: messages in, text out. For judges, which want an opinion and not a sample.

Temperature 0, a JSON Schema for the reply where the server takes one, no streaming, no group and no
record: what a judge was asked is in its verdict's evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from app.engines.drawing import MAX_REPLY_BYTES, PATH
from app.engines.limits import InflightSamples
from app.engines.probe import Probe
from app.engines.upstream import Upstream, read_capped
from app.engines.wire import ChoiceBuilder, read_json, write_json
from app.errors import EngineGarbage, EngineRefused, EngineTimeout


async def ask_model(
    upstream: Upstream,
    probe: Probe,
    inflight: InflightSamples,
    messages: Sequence[Mapping[str, str]],
    *,
    schema: Mapping[str, Any],
    max_tokens: int,
) -> str:
    """The text of one reply. Raises `EngineError` or `Overloaded`; a cut reply is none."""
    taken = await inflight.take(1)
    try:
        async with asyncio.timeout(upstream.settings.request_s):
            reply = await _post(upstream, probe, messages, schema, max_tokens)
    except TimeoutError:
        raise EngineTimeout(
            f"The model server took over {upstream.settings.request_s:g} s."
        ) from None
    finally:
        inflight.give_back(taken)
    return _text_of(reply)


async def _post(
    upstream: Upstream,
    probe: Probe,
    messages: Sequence[Mapping[str, str]],
    schema: Mapping[str, Any],
    max_tokens: int,
) -> Any:
    """POST, once more for each optional field that the server turns out not to have."""
    facts = await probe.facts()
    form = {"name": "opinion", "strict": True, "schema": schema}
    optional = {
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": form},
    }
    while True:
        body = {
            "model": facts.model_for("", upstream.settings.model),
            "messages": list(messages),
            facts.tokens_key: max_tokens,
            **{key: value for key, value in optional.items() if key not in facts.refused},
        }
        try:
            response = await upstream.post(
                PATH,
                write_json(body),
                first_byte_s=upstream.settings.request_s,
                on_attempt=lambda: None,
            )
        except EngineRefused as refused:
            if not facts.learn_refusal(refused, body, optional):
                raise
            continue
        try:
            return read_json(await read_capped(response, MAX_REPLY_BYTES))
        finally:
            await response.aclose()


def _text_of(reply: Any) -> str:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise EngineGarbage("The model server sent no choice.")
    builder = ChoiceBuilder(keep_logprobs=False)
    builder.add(choices[0])
    if builder.finish_reason != "stop":
        raise EngineGarbage(f"The model server's reply ended with {builder.finish_reason!r}.")
    return builder.text
