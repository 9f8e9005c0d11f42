"""What a server is and can do: asked cheaply once, learned from its replies afterwards.

One GET of the model list; on vLLM two one-token completions more, because nothing else tells
whether its logprobs come after temperature, a request to load no adapter, and what samples will say
of where they come from (`origin.py`). A server that cannot be asked is taken for a plain one and
asked again later.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from app.engines.adapters import HOW, LIST_WITHIN_S, loads_adapters
from app.engines.base import Capabilities, EngineModel
from app.engines.origin import ask_origin
from app.engines.upstream import Upstream, read_capped
from app.engines.wire import read_json
from app.errors import EngineError, EngineGarbage, EngineRefused
from app.sample import Origin

log = logging.getLogger("verivote.engines.probe")

MODELS_WITHIN_S = 2.0
LOGPROBS_WITHIN_S = 15.0
AGAIN_AFTER_S = 30.0

SERVERS = {"vllm": "vllm", "llamacpp": "llama.cpp"}
"""`owned_by` in the model list → server."""

PROMPT = "Name any word."


class Facts:
    """What is known of a server so far. Everything starts as a plain OpenAI server."""

    def __init__(self) -> None:
        self.server = "openai"
        self.models: tuple[EngineModel, ...] = ()
        self.adapters = False
        self.processed_logprobs = False
        self.n: bool | None = None
        """None until a reply to `n` > 1 has told."""
        self.logprobs = False
        self.token_ids = False
        self.refused: set[str] = set()
        """Optional fields that the server will not have."""
        self.tokens_key = "max_tokens"
        self.origin: Origin | None = None
        """What the samples say of where they come from; None for other servers than vLLM."""

    @property
    def knows_extras(self) -> bool:
        """True for servers that report token ids and ignore or know fields beyond OpenAI's."""
        return self.server in SERVERS.values()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            n=bool(self.n),
            logprobs=self.logprobs,
            token_ids=self.token_ids,
            processed_logprobs=self.processed_logprobs,
            structured_output=self.knows_extras,
            adapters=self.adapters,
            cache_salt=self.server == "vllm" and "cache_salt" not in self.refused,
            server=self.server,
        )

    def lacks(self) -> tuple[str, ...]:
        """What a vLLM lacks for a log that can be trained on and policies that can be served, each
        with the fix. Nothing is said of other servers, whose samples say themselves what they lack.
        """
        if self.server != "vllm":
            return ()
        needed = {
            "logprobs after temperature: start vLLM with --logprobs-mode processed_logprobs": (
                self.processed_logprobs
            ),
            "token ids: take a newer vLLM": self.token_ids,
            f"loading of adapters: {HOW}": self.adapters,
        }
        return tuple(what for what, there in needed.items() if not there)

    def model_for(self, alias: str, configured: str) -> str:
        """The server's own model of this name, else the configured one, else its first."""
        names = [model.id for model in self.models]
        if alias in names:
            return alias
        return configured or (names[0] if names else alias)

    def learn_refusal(
        self, refused: EngineRefused, body: Mapping[str, Any], optional: Iterable[str]
    ) -> bool:
        """True when the refusal names something that can be left out or put another way.

        `optional` are the fields of `body` that the client did not ask for.
        """
        said = f"{refused.param or ''} {refused.message}"
        if "max_completion_tokens" in said and "max_tokens" in body:
            self.tokens_key = "max_completion_tokens"
            return True
        named = {key for key in optional if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", said)}
        self.refused |= named
        if not named and "n" in body and re.search(r"(?<![\w\\])n(?!\w)", said):
            self.n = False
            return True
        return bool(named)


class Probe:
    """Asks once, on first use. `clock` is monotonic seconds."""

    def __init__(self, upstream: Upstream, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstream = upstream
        self._clock = clock
        self._lock = asyncio.Lock()
        self._again_at: float | None = 0.0
        self.known = Facts()

    async def ask_anew(self, *, within_s: float) -> None:
        """There is another server now, which may take so long for each reply.

        Raises `EngineError`, and then nothing is known of it.
        """
        async with self._lock:
            self.known, self._again_at = Facts(), 0.0
            await self._ask(models_s=within_s, tokens_s=within_s)
            self._again_at = None

    async def relist(self) -> None:
        """Read the model list anew, which has changed. Raises `EngineError`."""
        await self.facts()
        self.known.models = tuple(await self._listed(LIST_WITHIN_S))

    async def facts(self) -> Facts:
        """Never raises. Each waiter asks itself, so a cancelled one leaves no socket behind."""
        if self._is_due():
            async with self._lock:
                if self._is_due():
                    try:
                        await self._ask(models_s=MODELS_WITHIN_S, tokens_s=LOGPROBS_WITHIN_S)
                        self._again_at = None
                    except EngineError:
                        self._again_at = self._clock() + AGAIN_AFTER_S
        return self.known

    def _is_due(self) -> bool:
        return self._again_at is not None and self._clock() >= self._again_at

    async def _ask(self, *, models_s: float, tokens_s: float) -> None:
        known = self.known
        listed = await self._listed(models_s)
        known.models = tuple(listed)
        known.adapters = any(listed.values())
        owners = {model.owned_by for model in listed}
        known.server = next((SERVERS[o] for o in owners if o in SERVERS), "openai")
        if known.knows_extras:
            known.n = True if known.n is None else known.n
            known.logprobs = known.token_ids = True
        if known.server == "vllm" and known.models:
            await self._ask_vllm(known, tokens_s)

    async def _listed(self, within_s: float) -> dict[EngineModel, bool]:
        return read_models(await self._upstream.get_json("/models", within_s=within_s))

    async def _ask_vllm(self, known: Facts, within_s: float) -> None:
        model = self._upstream.settings.model or known.models[0].id
        hot, known.token_ids = await self._first_token(model, 1.0, within_s)
        cold, _ = await self._first_token(model, 0.5, within_s)
        # Halving the temperature moves the leading logprob, unless it is that before temperature.
        known.processed_logprobs = abs(hot - cold) > 1e-3
        known.adapters = await loads_adapters(self._upstream, within_s=within_s)
        known.origin = await ask_origin(self._upstream, model, within_s=within_s)
        for missing in known.lacks():
            log.warning("engine '%s' lacks %s", self._upstream.name, missing)

    async def _first_token(
        self, model: str, temperature: float, within_s: float
    ) -> tuple[float, bool]:
        """The leading logprob, and whether ids of tokens were sent."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 1,
            "temperature": temperature,
            "top_p": 1.0,
            "logprobs": True,
            "top_logprobs": 1,
            "return_token_ids": True,
        }
        response = await self._upstream.post(
            "/chat/completions",
            orjson.dumps(body),
            first_byte_s=within_s,
            on_attempt=lambda: None,
        )
        try:
            reply = read_json(await read_capped(response, 2**20))
            choice = reply["choices"][0]
            leading = choice["logprobs"]["content"][0]["top_logprobs"]
            return max(float(top["logprob"]) for top in leading), bool(choice.get("token_ids"))
        except (LookupError, TypeError, ValueError):
            raise EngineGarbage from None
        finally:
            await response.aclose()


def read_models(listed: Any) -> dict[EngineModel, bool]:
    """The entries of a model list, and whether each is an adapter. Raises `EngineGarbage`."""
    entries = listed.get("data") if isinstance(listed, Mapping) else None
    if not isinstance(entries, list):
        raise EngineGarbage("The model server's model list has no list 'data'.")
    found: dict[EngineModel, bool] = {}
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str):
            raise EngineGarbage("The model server lists a model without an id.")
        created, length = entry.get("created"), entry.get("max_model_len")
        model = EngineModel(
            id=entry["id"],
            created=created if isinstance(created, int) else 0,
            owned_by=str(entry.get("owned_by") or ""),
            max_model_len=length if isinstance(length, int) else None,
        )
        found[model] = bool(entry.get("parent"))
    return found
