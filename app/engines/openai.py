"""The engine for any OpenAI-compatible server, vLLM and llama.cpp first.

One HTTP call draws a whole round where the server supports `n`, else parallel calls do. A round of
several samples is always streamed from the server, so that each sample is handed over as it ends
and the tokens of a cancelled one are known. What a server can do is probed once and learned from
its replies; a server that ignores `n` is noticed by its reply and the round filled up.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from app.engines.adapters import Adapters
from app.engines.asking import Asking
from app.engines.base import Capabilities, DeltaSink, EngineModel, ServerState
from app.engines.drawing import OpenAIDrawing
from app.engines.limits import InflightSamples
from app.engines.probe import MODELS_WITHIN_S, Probe, read_models
from app.engines.upstream import Upstream
from app.plan import Draw, Plan
from app.settings import EngineSettings
from app.task import Task


class OpenAIEngine:
    """Implements `Engine`. `clock` is unix time in seconds; `rng` spreads retries."""

    def __init__(
        self,
        settings: EngineSettings,
        name: str,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._upstream = Upstream(settings, name, rng=rng)
        self._probe = Probe(self._upstream)
        self._inflight = InflightSamples(settings.max_inflight)
        self._replicas = [
            Upstream(settings.model_copy(update={"base_url": each}), name)
            for each in settings.replicas
        ]
        self._adapters = Adapters(self._replicas or [self._upstream])
        self.ask = Asking(self._upstream, self._probe, self._inflight)

    async def start(self) -> None:
        """Nothing to do: the server is asked on first use, so it may come up later."""

    async def close(self) -> None:
        for each in (self._upstream, *self._replicas):
            await each.close()

    async def move_to(self, base_url: str, *, within_s: float) -> None:
        """The server listens here from now on; find out what it can do.

        It may take so long for a reply: the first ones wait for what is made on first use. Raises
        `EngineError`.
        """
        self._upstream.settings = self._upstream.settings.model_copy(update={"base_url": base_url})
        await self._probe.ask_anew(within_s=within_s)

    def draw(
        self, task: Task, plan: Plan, draw: Draw, on_delta: DeltaSink | None = None
    ) -> OpenAIDrawing:
        """Begin a round; the first call leaves when iteration begins.

        Iteration raises an `EngineError` when no sample ended, and `Overloaded` when there was no
        room for the round.
        """
        return OpenAIDrawing(
            task,
            plan,
            draw,
            on_delta,
            upstream=self._upstream,
            probe=self._probe,
            inflight=self._inflight,
            clock=self._clock,
        )

    async def capabilities(self) -> Capabilities:
        return (await self._probe.facts()).capabilities()

    async def lacks(self) -> tuple[str, ...]:
        """What the server lacks for training, each with the fix."""
        return (await self._probe.facts()).lacks()

    async def models(self) -> tuple[EngineModel, ...]:
        return tuple(
            read_models(await self._upstream.get_json("/models", within_s=MODELS_WITHIN_S))
        )

    async def model_for(self, alias: str) -> str:
        """The model that is asked when the plan names none."""
        facts = await self._probe.facts()
        return facts.model_for(alias, self._upstream.settings.model)

    async def is_up(self) -> bool:
        """A server without a model list still counts: it answered."""
        return await self._upstream.answers("/models", within_s=MODELS_WITHIN_S)

    def server_state(self) -> ServerState | None:
        return None

    async def load_policy(self, name: str, path: Path) -> None:
        await self._adapters.load(name, path)
        await self._probe.relist()

    async def unload_policy(self, name: str) -> None:
        await self._adapters.unload(name)
        await self._probe.relist()

    async def policies(self) -> tuple[str, ...]:
        return await self._adapters.listed()
