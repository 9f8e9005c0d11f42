"""The request behind a trace, as JSON and as a command that repeats it.

It is rebuilt from the record: the bytes that came in are not kept.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from app.store.content import level_of
from app.task import Options, Parameters, Task

COMMAND_CAP = 8_000
"""Characters; a longer command is no use on a page."""


def request_body(task: Task) -> dict[str, Any]:
    """The body of a chat completion request that asks for the same."""
    body: dict[str, Any] = {"model": task.model, "messages": [dict(m) for m in task.messages]}
    body |= _sent(task.parameters)
    optional = {
        "n": task.choices if task.choices != 1 else None,
        "tools": [dict(tool) for tool in task.tools] or None,
        "tool_choice": task.tool_choice,
        "parallel_tool_calls": task.parallel_tool_calls,
        "response_format": task.response_format,
        "metadata": dict(task.metadata) or None,
        "store": task.store,
        "stream": True if task.stream else None,
        "stream_options": {"include_usage": True} if task.include_usage else None,
        "service_tier": task.service_tier,
        "verify": _verify(task.options) or None,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def repeat_command(task: Task, base_url: str, *, with_key: bool) -> str:
    """A curl line, or an empty string when texts are not kept or the line would be too long."""
    if level_of(task) != "full":
        return ""
    body = json.dumps(request_body(task), ensure_ascii=False, default=dict)
    key = ' -H "Authorization: Bearer $OPENAI_API_KEY"' if with_key else ""
    command = (
        f"curl {shlex.quote(base_url + '/v1/chat/completions')}{key} "
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
    return command if len(command) <= COMMAND_CAP else ""


def _sent(parameters: Parameters) -> dict[str, Any]:
    """Only what the client sent."""
    names = (
        "temperature",
        "top_p",
        "seed",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "reasoning_effort",
        "verbosity",
    )
    sent = {name: getattr(parameters, name) for name in names}
    sent["max_completion_tokens"] = parameters.max_tokens
    sent["stop"] = list(parameters.stop) or None
    sent["logprobs"] = parameters.logprobs or None
    return {name: value for name, value in sent.items() if value is not None} | dict(
        parameters.extra
    )


def _verify(options: Options) -> dict[str, Any]:
    """Only what differs from the defaults."""
    default = Options()
    names = ("mode", "n", "effort", "rule", "deadline_ms", "on_unverified", "cache")
    asked = {
        name: getattr(options, name)
        for name in names
        if getattr(options, name) != getattr(default, name)
    }
    verifiers = [
        {"use": spec.use, **spec.options} for spec in options.verifiers if spec.source == "request"
    ]
    return asked | ({"verifiers": verifiers} if verifiers else {})
