"""May a sample be trained on? Only when its µ-logprobs are those of the law it was drawn by.

The trainer replays temperature and nothing else, so whatever else shapes or cuts the sampling
distribution makes µ another number than the trainer's π at the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from app.plan import Plan
from app.task import Task

SPELLED_OUT: Mapping[str, Any] = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""Sent with rounds that may be trained on, so that the defaults of a server or of a model folder
do not cut the distribution. A plan of one sample keeps those defaults."""

ENDED_WELL = ("stop", "length", "tool_calls")
CONSTRAINED = "constrained_decoding"
PROGRAM = "program"
"""A sample that was asked for in other words than the task's, so its logprobs are of another
prompt."""
CONSTRAINTS = ("structured_outputs", "guided_json", "grammar", "json_schema")


def why_not(task: Task, plan: Plan, *, exact_logprobs: bool) -> str:
    """Why no sample of this round may be trained on, as a code; empty when one may.

    `exact_logprobs`: the server reports logprobs after temperature, with no cut of its own.
    """
    wanted = task.parameters
    extra = wanted.extra
    if plan.cap == 1:
        return "server_defaults"
    if plan.temperature is None:
        return "unknown_temperature"
    if plan.temperature == 0:
        return "greedy"
    if plan.top_p not in (None, 1, 1.0):
        return "top_p"
    if extra.get("top_k") not in (None, 0, -1) or extra.get("min_p") not in (None, 0):
        return "truncated_distribution"
    if wanted.presence_penalty or wanted.frequency_penalty:
        return "penalty"
    if extra.get("repetition_penalty") not in (None, 1):
        return "penalty"
    if wanted.logit_bias:
        return "logit_bias"
    if _is_constrained(task):
        return CONSTRAINED
    if not exact_logprobs:
        return "unprocessed_logprobs"
    return ""


def why_not_sample(
    token_ids: tuple[int, ...] | None,
    logprobs: tuple[float, ...] | None,
    finish_reason: str | None,
    altered: tuple[str, ...],
    *,
    floor: float,
) -> str:
    """Why this one sample may not be trained on, as a code; empty when it may."""
    if finish_reason not in ENDED_WELL:
        return "unfinished" if finish_reason is None else "finish_reason"
    if altered:
        return "altered"
    if token_ids is None:
        return "no_token_ids"
    if logprobs is None:
        return "no_logprobs"
    if len(token_ids) != len(logprobs):
        return "misaligned_logprobs"
    if not all(math.isfinite(mu) and mu > floor for mu in logprobs):
        return "bad_logprobs"
    return ""


def _is_constrained(task: Task) -> bool:
    shape = (task.response_format or {}).get("type", "text")
    forced = isinstance(task.tool_choice, Mapping) or task.tool_choice == "required"
    return shape != "text" or forced or any(key in task.parameters.extra for key in CONSTRAINTS)
