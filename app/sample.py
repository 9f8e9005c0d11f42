"""What engines drew: samples, the calls they came from, and what was found out about them.

Times are milliseconds since the task's `received_at`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from verifiers.base import Answer, ToolCall, Verdict

SampleKind = Literal["text", "program"]
"""What was asked of the model: an answer in words, or a program that computes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion drawn from an engine."""

    index: int
    """Position in the group, from 0, in drawing order."""
    kind: SampleKind = "text"
    """A program's `text` is what it printed; the program itself is `raw_text`."""
    stage: int = 0
    """0 for the plan that was made first, 1 for the fallback's samples."""
    round: int
    call: int
    """Index of the upstream call it came from."""
    choice: int
    """Index inside that call."""
    text: str
    """What is verified, voted on and served."""
    raw_text: str | None = None
    """What the model wrote, where `text` differs from it; `altered` says how."""
    reasoning: str = ""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    """None: it never ended (cancelled or cut), so it is neither verified nor counted as a vote."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Exact from token ids or usage; for a cancelled sample the number received."""
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Natural log of the sampling probability of each token (µ), aligned with `token_ids`."""
    logprobs_wire: Mapping[str, Any] | None = None
    """`choices[].logprobs` as the engine sent it; kept when the client asked for logprobs."""
    seed: int | None = None
    """Seed of the upstream call."""
    model: str = ""
    """Model name that the upstream reported."""
    started_ms: float = 0.0
    first_token_ms: float | None = None
    finished_ms: float = 0.0
    cancelled: bool = False
    trainable: bool = False
    not_trainable: str = ""
    """Why it may not be trained on, when it may not."""
    altered: tuple[str, ...] = ()
    """Changes between what the model wrote and `text`: `code_fence_removed`, `bad_unicode`,
    `program_run`, `program_not_run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of a sample while it is being generated (live path only)."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Wire form of `delta.tool_calls`."""
    logprobs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What an engine knows of the model behind a call; None where the server does not tell."""

    server_version: str | None = None
    base_model_digest: str | None = None
    """Of the weights without any adapter."""
    tokenizer_digest: str | None = None
    chat_template_digest: str | None = None
    weight_version: str | None = None
    """The server's own name for the weights that drew the samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One upstream request."""

    index: int
    round: int
    engine: str
    n: int
    """Choices asked for."""
    seed: int | None
    started_ms: float
    finished_ms: float
    attempts: int = 1
    prompt_tokens: int = 0
    """Paid once a call, however many choices it returned."""
    prompt_token_ids: tuple[int, ...] | None = None
    upstream_id: str = ""
    origin: Origin | None = None
    """None where the engine knows nothing of it."""
    error: str = ""
    """Code of the error that ended it; empty when it ended well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A sample with what was found out about it."""

    sample: Sample
    answer: Answer
    verdicts: tuple[Verdict, ...] = ()
    reward: float | None = None
    """0..1, or None when it could not be checked. None is never 0."""
