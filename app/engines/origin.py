"""Where the samples of a vLLM come from: its version, its tokenizer, its chat template.

vLLM tells its version. What it tells of its tokenizer (`/tokenizer_info`) is off by default and
names files, so it is asked to split two fixed texts instead (`/tokenize`). Both are beside `/v1`,
where a proxy may have nothing: then they stay unknown. Digests of weights it never tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from app.engines.fingerprint import CHAT, TEMPLATE_ARGUMENTS, TEXT, digest_ids, is_dated
from app.engines.upstream import Upstream
from app.engines.wire import read_json
from app.errors import EngineError
from app.sample import Origin


async def ask_origin(upstream: Upstream, model: str, *, within_s: float) -> Origin:
    """Three requests that draw nothing. What is not told is None; it never raises `EngineError`."""
    version = await _told(upstream, "GET", "/version", None, within_s)
    text = await _split(upstream, {"prompt": TEXT, "add_special_tokens": False}, model, within_s)
    chat = await _split(
        upstream,
        {
            "messages": CHAT,
            "add_generation_prompt": True,
            "return_token_strs": True,
            "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        },
        model,
        within_s,
    )
    said = version.get("version")
    return Origin(
        server_version=f"vllm {said}"[:100] if isinstance(said, str) and said else None,
        tokenizer_digest=_digest(text),
        chat_template_digest=None if _is_dated(chat) else _digest(chat),
    )


async def _split(
    upstream: Upstream, body: Mapping[str, Any], model: str, within_s: float
) -> Mapping[str, Any]:
    data = orjson.dumps({"model": model, **body})
    return await _told(upstream, "POST", "/tokenize", data, within_s)


async def _told(
    upstream: Upstream, method: str, path: str, body: bytes | None, within_s: float
) -> Mapping[str, Any]:
    try:
        reply = await upstream.exchange(method, path, body, within_s=within_s, beside_v1=True)
        told = read_json(reply.data) if reply.status == 200 else None
    except EngineError:
        told = None
    return told if isinstance(told, Mapping) else {}


def _digest(split: Mapping[str, Any]) -> str | None:
    ids = split.get("tokens")
    if not isinstance(ids, list) or not ids or not all(isinstance(each, int) for each in ids):
        return None
    return digest_ids(ids)


def _is_dated(split: Mapping[str, Any]) -> bool:
    pieces = split.get("token_strs")
    written = "".join(map(str, pieces)) if isinstance(pieces, list) else ""
    return is_dated(written, datetime.now(UTC).year)
