"""What was asked: the task, parsed once at the edge, with the client's parameters and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from verifiers.base import VerifierSpec

Mode = Literal["auto", "off", "always"]
Effort = Literal["low", "medium", "high"]
OnUnverified = Literal["return", "error", "hold"]
CacheMode = Literal["on", "off", "read_only", "write_only"]
ContentLevel = Literal["off", "hash", "redacted", "full"]
RuleName = Literal["margin", "two_kinds", "adaptive", "esc", "fixed", "certified", "exact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Sampling parameters as the client sent them; None means not sent."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """`max_completion_tokens`, else `max_tokens`: a cap per sample."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Allow-listed extensions (`top_k`, `min_p`, `chat_template_kwargs`, …), passed on as sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Gateway options after precedence: body > header > model suffix > key default > config."""

    mode: Mode = "auto"
    n: int | None = None
    """Upper bound on samples; None means the cap of `effort`."""
    effort: Effort = "medium"
    deadline_ms: int = 60_000
    verifiers: tuple[VerifierSpec, ...] = ()
    on_unverified: OnUnverified = "return"
    cache: CacheMode = "on"
    include: tuple[str, ...] = ()
    """Extra parts of the reply; known: `trace`."""
    rule: RuleName = "margin"
    """Stop rule of the vote."""
    asked: tuple[str, ...] = ()
    """Names of the options that the request set itself; a route sets only others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was asked, parsed once at the edge."""

    trace_id: str
    """`chatcmpl-<ulid>`: the id of the completion and of its trace."""
    request_id: str
    received_at: float
    """Unix time in seconds."""
    tenant: str
    """Whose cache, traces and limits apply; `local` when keys are off."""
    model: str
    """As the client wrote it, suffix included; echoed in the reply."""
    alias: str
    """The alias without suffix."""
    engine: str
    """Name of the engine that the alias points at."""
    upstream_model: str = ""
    """The upstream's own model id, when the client named one; empty takes the engine's model."""
    messages: tuple[Mapping[str, Any], ...]
    parameters: Parameters = field(default_factory=Parameters)
    options: Options = field(default_factory=Options)
    choices: int = 1
    """`n` of the request: how many choices to return."""
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    old_functions: bool = False
    """The tools came as the deprecated `functions`; the reply carries `function_call`."""
    response_format: Mapping[str, Any] | None = None
    stream: bool = False
    include_usage: bool = False
    service_tier: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    store: bool | None = None
    content: ContentLevel = "full"
    """How much text may be kept; `store: false` makes it `off`."""
    user_hash: str | None = None
    cache_namespace: str | None = None
    """Hash of `prompt_cache_key`."""
    ignored: tuple[str, ...] = ()
    """Parameters that were accepted and had no effect."""

    def prompt(self) -> str:
        """Text of the last user message; parts are joined by newlines."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message.get("content"))
        return ""

    def system(self) -> str:
        """Text of all system and developer messages."""
        roles = ("system", "developer")
        return "\n".join(text_of(m.get("content")) for m in self.messages if m.get("role") in roles)


def text_of(content: Any) -> str:
    """Text of a message's content: the string itself, or its text parts joined by newlines."""
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):
        return "\n".join(
            part.get("text", "") for part in content if isinstance(part, Mapping) and "text" in part
        )
    return ""
