"""The engine contract: where samples come from.

One small protocol over every back end. An engine turns a task, its plan and one round into
samples, each handed over as soon as it ends, and can stop the rest at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from app.plan import Draw, Plan
from app.sample import Call, Delta, Sample
from app.task import Task

DeltaSink = Callable[[Delta], None]
"""Called with each piece of the one live sample, in order. Must not block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a server was found to do; unknown counts as False."""

    n: bool = False
    """One call may ask for several choices."""
    logprobs: bool = False
    token_ids: bool = False
    processed_logprobs: bool = False
    """Reported logprobs are those of the sampling distribution, at any temperature."""
    structured_output: bool = False
    tools: bool = False
    adapters: bool = False
    """Adapters of trained policies can be loaded while it serves."""
    cache_salt: bool = False
    server: str = "openai"
    """`vllm`, `llama.cpp` or `openai`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """One entry of the upstream's model list."""

    id: str
    created: int = 0
    owned_by: str = ""
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """How a model server that the gateway itself runs is doing."""

    state: Literal["starting", "ready", "failed", "stopped"]
    why: str = ""
    """What it died of, as it said itself; empty while it never died."""
    restarts: int = 0
    """How often it was started again since the gateway started; a failed one is, now and then."""


class Drawing(Protocol):
    """One round in progress."""

    def __aiter__(self) -> AsyncIterator[Sample]:
        """Each sample as it ends. Raises an `EngineError` only when none could be drawn."""
        ...

    async def cancel(self) -> tuple[Sample, ...]:
        """Close every upstream socket now; return the unfinished samples with tokens received.

        Idempotent, safe after the end, and complete within a second.
        """
        ...

    @property
    def calls(self) -> tuple[Call, ...]:
        """The upstream requests so far, failed ones included; final once iteration has ended."""
        ...


class Engine(Protocol):
    """A source of samples."""

    name: str

    async def start(self) -> None:
        """Get ready. Must not fail because a remote server is down."""
        ...

    async def close(self) -> None: ...

    def draw(
        self, task: Task, plan: Plan, draw: Draw, on_delta: DeltaSink | None = None
    ) -> Drawing:
        """Begin a round. `on_delta` is given only for a single live sample."""
        ...

    async def capabilities(self) -> Capabilities:
        """What the server can do; probed once and remembered."""
        ...

    async def models(self) -> tuple[EngineModel, ...]:
        """The upstream's models. Raises `EngineError`."""
        ...

    async def model_for(self, alias: str) -> str:
        """The model that is asked when the client names none of the upstream's. Never raises."""
        ...

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any],
        max_tokens: int,
    ) -> str:
        """One plain call for a judge: its text. Raises `EngineError` or `Overloaded`."""
        ...

    async def is_up(self) -> bool:
        """True when the server answers; never runs the model."""
        ...

    def server_state(self) -> ServerState | None:
        """None for a server that is somebody else's to run."""
        ...

    async def load_policy(self, name: str, path: Path) -> None:
        """Have every replica serve this adapter as the model `name`; nothing to do where it does.

        A name means the same weights for ever. Raises `EngineError` with what the server said.
        """
        ...

    async def unload_policy(self, name: str) -> None:
        """Have no replica serve it. Raises `EngineError`."""
        ...

    async def policies(self) -> tuple[str, ...]:
        """The adapters that every replica serves; none where a server has none.

        Raises `EngineError`.
        """
        ...
