"""Group → what the client gets: the completion, its chunks, its headers. Pure views.

The text that is served is the text that was verified; nothing is rephrased or made up here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import orjson

from app.api.errors import error_from
from app.api.hidden import without_hidden
from app.errors import EngineError, VerificationFailed, VerivoteError
from app.group import Group
from app.plan import Plan
from app.sample import Delta, Sample, Scored
from app.task import Task
from verifiers.base import ToolCall

DONE = b"data: [DONE]\n\n"
COMMENT = b": waiting\n\n"
MAX_HEADER_BYTES = 256
HELD = "content_filter"
"""Finish reason of an answer that is withheld until somebody has looked at it."""


def to_completion(group: Group) -> dict[str, Any]:
    """The `chat.completion` of a group without error."""
    choices = [
        {
            "index": position,
            "message": _message(group, scored),
            "finish_reason": _finish_reason(group, scored),
            "logprobs": _logprobs(group, scored),
        }
        for position, scored in enumerate(_returned(group))
    ]
    return {
        **_head(group.task, group.plan, "chat.completion"),
        "choices": choices,
        "usage": usage_of(group),
        "verification": verification_of(group),
    }


def verification_of(group: Group) -> dict[str, Any]:
    """What was checked and found, as the reply tells it. What is held is not given away."""
    decision, winner, held = group.decision, group.winner, status_of(group) == "held"
    told: dict[str, Any] = {
        "status": status_of(group),
        "trace_id": group.trace_id,
        "answer": None if winner is None or held else winner.answer.key,
        "confidence": decision.confidence if decision else None,
        "abstained": decision.abstained if decision else False,
        "threshold": decision.threshold if decision else None,
        "samples": _drawn(group),
        "rounds": 0 if group.cache.hit else group.rounds,
        "votes": {} if held else dict(group.tally.votes),
        "verifiers": [
            {"name": verdict.verifier, "status": verdict.status.value, "score": verdict.score}
            for verdict in (winner.verdicts if winner else ())
            if not verdict.hidden
        ],
        "stop_reason": decision.stop_reason if decision else "",
        "route": group.plan.route,
        "route_name": group.plan.route_name,
        "difficulty": group.plan.difficulty,
        "policy": group.plan.policy,
        "cache": _cache(group),
        "degraded": list(group.degraded),
    }
    if hidden := sum(ref.hidden for ref in group.plan.verifiers):
        told["hidden_verifiers"] = hidden
    if "trace" in group.task.options.include and not held:
        told["trace"] = orjson.loads(without_hidden(group).to_json())
    return told


def usage_of(group: Group) -> dict[str, Any]:
    """Tokens of all samples, as OpenAI bills all choices."""
    usage, winner = group.usage(), group.winner
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "verification": {
            "samples": _drawn(group),
            "winner_tokens": winner.sample.completion_tokens if winner else 0,
        },
    }


def status_of(group: Group) -> str:
    """The decision's status; `failed` where there is none to serve."""
    if group.error is not None or group.decision is None:
        return "failed"
    return group.decision.status


def error_of(group: Group) -> VerivoteError | None:
    """Why this group is no completion: nothing was drawn, or an unverified answer is refused."""
    if group.error is not None:
        return error_from(group.error, paid=group.usage().completion_tokens > 0)
    if group.decision is None or group.decision.winner is None:
        return EngineError("No sample came back from the model server.")
    if group.decision.status == "unverified" and group.task.options.on_unverified == "error":
        return VerificationFailed(param="verify.on_unverified", should_retry=False)
    return None


def response_headers(group: Group) -> dict[str, str]:
    """The headers that say what happened, also on an error reply."""
    return {
        **opening_headers(group.task, group.plan),
        "x-verivote-status": status_of(group),
        "x-verivote-samples": str(_drawn(group)),
        "x-verivote-cache": _cache_word(group),
    }


def opening_headers(task: Task, plan: Plan) -> dict[str, str]:
    """Those of them that are known before anything is drawn: all that a stream can have."""
    headers = {"x-verivote-trace-id": task.trace_id, "x-verivote-route": plan.route}
    if task.ignored:
        headers["x-verivote-ignored-params"] = header_value(", ".join(task.ignored))
    return headers


def header_value(text: str) -> str:
    """Text of a client or a model made fit for a header: no control characters, bounded."""
    kept = "".join(char if " " <= char <= "~" else "?" for char in text)
    return kept[:MAX_HEADER_BYTES]


class Chunks:
    """The server-sent events of one completion: same id, created and model on each."""

    def __init__(self, task: Task, plan: Plan) -> None:
        self._task = task
        self._head = _head(task, plan, "chat.completion.chunk")
        if task.include_usage:
            self._head["usage"] = None

    def role(self, index: int = 0) -> bytes:
        """The first chunk of a choice; clients' stream helpers need it."""
        delta = {"role": "assistant", "content": "", "refusal": None}
        extra: dict[str, Any] = {}
        if index == 0:
            extra["verification"] = {"trace_id": self._task.trace_id}
        return self._chunk(index, delta, **extra)

    def live(self, delta: Delta) -> Iterator[bytes]:
        """A piece of the one sample that is shown while it is generated."""
        told: dict[str, Any] = {}
        if delta.content:
            told["content"] = delta.content
        if delta.reasoning:
            told["reasoning_content"] = delta.reasoning
        if delta.tool_calls:
            if self._task.old_functions:
                told["function_call"] = dict(delta.tool_calls[0].get("function", {}))
            else:
                told["tool_calls"] = list(delta.tool_calls)
        if told:
            yield self._chunk(0, told, logprobs=delta.logprobs)

    def rest(self, group: Group, seen: Seen) -> Iterator[bytes]:
        """What of the group has not been sent yet, to the end of the stream."""
        returned = _returned(group)
        for index, scored in enumerate(returned):
            if index:
                yield self.role(index)
            yield from self._content(group, index, scored, seen if index == 0 else Seen())
            last = index == len(returned) - 1
            extra = {"verification": verification_of(group)} if last else {}
            finish_reason = _finish_reason(group, scored)
            yield self._chunk(index, {}, finish_reason=finish_reason, **extra)
        if self._task.include_usage:
            yield _data({**self._head, "choices": [], "usage": usage_of(group)})
        yield DONE

    def _content(self, group: Group, index: int, scored: Scored, seen: Seen) -> Iterator[bytes]:
        message = _message(group, scored)
        told: dict[str, Any] = {}
        for key, sent in (("content", seen.content), ("reasoning_content", seen.reasoning)):
            text = message.get(key) or ""
            if text.startswith(sent) and len(text) > len(sent):
                told[key] = text[len(sent) :]
        if message.get("refusal"):
            told["refusal"] = message["refusal"]
        if not seen.tool_calls:
            if "function_call" in message:
                told["function_call"] = message["function_call"]
            if "tool_calls" in message:
                calls = enumerate(message["tool_calls"])
                told["tool_calls"] = [{"index": place, **call} for place, call in calls]
        if told:
            logprobs = None if seen.content else _logprobs(group, scored)
            yield self._chunk(index, told, logprobs=logprobs)

    def _chunk(
        self,
        index: int,
        delta: Mapping[str, Any],
        *,
        finish_reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
        **extra: Any,
    ) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        return _data({**self._head, "choices": [choice], **extra})


class Seen:
    """What of the live sample has already been sent."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self.tool_calls = False

    def add(self, delta: Delta) -> None:
        self._content.append(delta.content)
        self._reasoning.append(delta.reasoning)
        self.tool_calls = self.tool_calls or bool(delta.tool_calls)

    @property
    def content(self) -> str:
        return "".join(self._content)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)


def error_event(body: Mapping[str, Any]) -> bytes:
    """A failure in mid-stream; nothing follows it, so that a cut text is not taken for whole."""
    return _data(body)


def _data(body: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _head(task: Task, plan: Plan, kind: str) -> dict[str, Any]:
    return {
        "id": task.trace_id,
        "object": kind,
        "created": int(task.received_at),
        "model": task.model,
        "service_tier": "default",
        "system_fingerprint": _fingerprint(plan),
    }


def _fingerprint(plan: Plan) -> str:
    """Changes when the model or a verifier does."""
    named = (ref for ref in plan.verifiers if not ref.hidden)
    return _digest(plan.policy, tuple(f"{ref.name}/{ref.version}" for ref in named))


@lru_cache(maxsize=1024)
def _digest(policy: str, verifiers: tuple[str, ...]) -> str:
    return "fp_" + sha256("\x1f".join((policy, *verifiers)).encode()).hexdigest()[:10]


def _returned(group: Group) -> tuple[Scored, ...]:
    """The choices, best first."""
    decision = group.decision
    if decision is None or decision.winner is None:
        return ()
    return tuple(group.at(index) for index in decision.returned or (decision.winner,))


def _message(group: Group, scored: Scored) -> dict[str, Any]:
    sample = scored.sample
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if status_of(group) == "held":
        return message
    message["content"] = sample.text if sample.text or not sample.tool_calls else None
    message["refusal"] = sample.refusal
    if sample.reasoning:
        message["reasoning_content"] = sample.reasoning
    if sample.tool_calls and group.task.old_functions:
        first = sample.tool_calls[0]
        message["function_call"] = {"name": first.name, "arguments": first.arguments}
    elif sample.tool_calls:
        message["tool_calls"] = [_call(call) for call in sample.tool_calls]
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _finish_reason(group: Group, scored: Scored) -> str:
    if status_of(group) == "held":
        return HELD
    reason = _reason(scored.sample)
    return "function_call" if reason == "tool_calls" and group.task.old_functions else reason


def _reason(sample: Sample) -> str:
    """As the engine said it; a sample that never ended was cut."""
    return sample.finish_reason or "length"


def _logprobs(group: Group, scored: Scored) -> Mapping[str, Any] | None:
    if not group.task.parameters.logprobs or status_of(group) == "held":
        return None
    return scored.sample.logprobs_wire


def _drawn(group: Group) -> int:
    """Samples drawn for this request; an answer from the cache cost none."""
    return 0 if group.cache.hit else len(group.scored)


def _cache(group: Group) -> dict[str, Any]:
    if not group.cache.hit:
        return {"hit": False}
    cache = group.cache
    told: dict[str, Any] = {
        "hit": True,
        "source_trace_id": cache.source_trace_id,
        "age_s": cache.age_s,
    }
    if (word := _cache_word(group)) != "hit":
        told[word] = True
    return told


def _cache_word(group: Group) -> str:
    cache = group.cache
    if not cache.hit:
        return "off" if group.task.options.cache == "off" else "miss"
    words = ("coalesced", "negative", "reverified", "near")
    return next((word for word in words if getattr(cache, word)), "hit")
