"""Both directions of the chat completions wire: a draw → request body, reply pieces → samples.

Pure: no I/O and no clock. One builder reads a whole message and stream pieces alike, so a streamed
and an unstreamed reply of the same content give the same sample.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.errors import EngineGarbage
from app.plan import Plan
from app.sample import Delta, SampleKind
from app.task import Task
from verifiers.base import ToolCall

CUT_REASONS = ("abort", "error")
"""Finish reasons of servers that mean: it did not end."""

TEXT_KEYS = ("content", "reasoning_content", "reasoning", "refusal", "arguments")
"""Fields that come in pieces, so that half of a surrogate pair may follow."""

PROGRAM_WANTED = (
    "Do not answer in words: write one Python program that computes the answer. Reply with the "
    "program alone, in one ```python code block. Run without input, it must print the final "
    "answer in the form asked for above, and nothing else. Use only the standard library."
)
"""What a sample of the kind `program` is asked for, after the conversation itself."""

LOGPROB_FLOOR = -9999.0
"""vLLM reports a token outside the sampled support, or one it could not compute, as this."""


def read_json(data: bytes) -> Any:
    """Parse a reply; strict first, then without a complaint about surrogates or bad UTF-8.

    Lone surrogates remain only in texts, where `ChoiceBuilder` may still find their other half;
    elsewhere they become U+FFFD. Raises `EngineGarbage`.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            loose = json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _: None)
            return _scrub(loose)
        except (ValueError, RecursionError):
            shown = data[:80].decode("utf-8", "replace")
            raise EngineGarbage(
                f"The model server sent something that is not JSON: {shown!r}"
            ) from None


def write_json(body: Mapping[str, Any]) -> bytes:
    """A request body; numbers over 64 bits and lone surrogates go out as the client sent them."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body, separators=(",", ":")).encode()


def build_body(task: Task, plan: Plan, model: str, kind: SampleKind = "text") -> dict[str, Any]:
    """What every call of a round sends, without `n`, `seed`, streaming and optional extras."""
    wanted = task.parameters
    asked = program_messages(task.messages) if kind == "program" else list(task.messages)
    body: dict[str, Any] = {"model": model, "messages": asked}
    optional = {
        "temperature": plan.temperature,
        "top_p": plan.top_p,
        "max_tokens": plan.max_tokens,
        # The client's stop sequences are meant for its text and would cut a program.
        "stop": (kind == "text" and list(wanted.stop)) or None,
        "presence_penalty": wanted.presence_penalty,
        "frequency_penalty": wanted.frequency_penalty,
        "logit_bias": wanted.logit_bias,
        "verbosity": wanted.verbosity,
        "tools": list(task.tools) or None,
        "tool_choice": task.tool_choice,
        "parallel_tool_calls": task.parallel_tool_calls,
        "response_format": task.response_format,
    }
    body.update((key, value) for key, value in optional.items() if value is not None)
    if wanted.logprobs:
        body["logprobs"] = True
        if wanted.top_logprobs is not None:
            body["top_logprobs"] = wanted.top_logprobs
    body.update(wanted.extra)
    return body


def program_messages(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The conversation with the wish for a program at the end of its last user message.

    A message of its own would be a second one of the user's in a row, which many templates refuse.
    """
    *before, last = messages
    content = last.get("content")
    if last.get("role") == "user" and isinstance(content, str):
        return [*before, {**last, "content": f"{content}\n\n{PROGRAM_WANTED}"}]
    if last.get("role") == "user" and isinstance(content, list | tuple):
        wish = {"type": "text", "text": PROGRAM_WANTED}
        return [*before, {**last, "content": [*content, wish]}]
    return [*messages, {"role": "user", "content": PROGRAM_WANTED}]


def cache_salt(tenant: str, policy: str) -> str:
    """Keeps one tenant's prefix cache on the server from telling another what was asked, and one
    policy's from being read by the next of the same place."""
    salted = b"\0".join((b"verivote cache salt", tenant.encode(), policy.encode()))
    return hashlib.sha256(salted).hexdigest()[:32]


@dataclass(slots=True)
class _Tool:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ChoiceBuilder:
    """One choice of a reply while it grows."""

    def __init__(self, *, keep_logprobs: bool) -> None:
        self._keep_logprobs = keep_logprobs
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._tools: dict[int, _Tool] = {}
        self._entries: list[Any] = []
        self._mus: list[float] = []
        self._ids: list[int] = []
        self._entry_ids: list[int] = []
        self._held = {"content": "", "reasoning": ""}
        self._chunks = 0
        self.bad_unicode = False
        self.finish_reason: str | None = None
        self.cut = False
        """True when the server itself says that the choice did not end."""

    @property
    def ended(self) -> bool:
        return self.finish_reason is not None or self.cut

    @property
    def started(self) -> bool:
        return self._chunks > 0 or bool(self._ids) or bool(self._mus)

    @property
    def text(self) -> str:
        return "".join(self._content)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def refusal(self) -> str | None:
        return "".join(self._refusal) if self._refusal else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(id=tool.id, name=tool.name, arguments="".join(tool.arguments))
            for _, tool in sorted(self._tools.items())
        )

    @property
    def token_ids(self) -> tuple[int, ...] | None:
        """As vLLM sends them."""
        return tuple(self._ids) if self._ids else None

    @property
    def entry_ids(self) -> tuple[int, ...]:
        """The ids that llama.cpp puts beside logprobs; tokens of one character may be merged."""
        return tuple(self._entry_ids) if len(self._entry_ids) == len(self._mus) else ()

    @property
    def logprobs(self) -> tuple[float, ...] | None:
        return tuple(self._mus) if self._mus else None

    @property
    def logprobs_wire(self) -> Mapping[str, Any] | None:
        if not (self._keep_logprobs and self._entries):
            return None
        return {"content": self._entries, "refusal": None}

    @property
    def counted_tokens(self) -> int:
        """Tokens received: from token ids, else logprob entries, else pieces with content.

        The last is an estimate for servers that send neither: most put one token in a piece.
        """
        return len(self._ids) or len(self._mus) or self._chunks

    def add(self, choice: Mapping[str, Any]) -> Delta | None:
        """Take a `choices[]` element, whole or a piece; returns its live piece, if it has any.

        Raises `EngineGarbage`.
        """
        message = choice.get("delta") or choice.get("message") or {}
        if not isinstance(message, Mapping):
            raise EngineGarbage("The model server sent a choice whose message is not an object.")
        content = self._take("content", _text(message.get("content")))
        thought = message.get("reasoning_content") or message.get("reasoning")
        reasoning = self._take("reasoning", _text(thought))
        refusal = _text(message.get("refusal"))
        if refusal:
            self._refusal.append(self._clean(refusal))
        tools = message.get("tool_calls") or ()
        self._add_tools(tools)
        entries = self._add_logprobs(choice.get("logprobs"))
        self._add_ids(choice.get("token_ids"))
        if content or reasoning or refusal or tools:
            self._chunks += 1
        self._end(choice.get("finish_reason"))
        if not (content or reasoning or tools or entries):
            return None
        return Delta(
            content=content,
            reasoning=reasoning,
            tool_calls=tuple(tools),
            logprobs={"content": entries} if entries and self._keep_logprobs else None,
        )

    def flush(self) -> None:
        """The choice will get no more pieces: half of a surrogate pair becomes U+FFFD."""
        for field_name, pieces in (("content", self._content), ("reasoning", self._reasoning)):
            if self._held[field_name]:
                self._held[field_name] = ""
                self.bad_unicode = True
                pieces.append("\ufffd")

    def _end(self, reason: Any) -> None:
        if reason is None:
            return
        if not isinstance(reason, str):
            raise EngineGarbage(f"The model server sent finish_reason {reason!r}.")
        if reason in CUT_REASONS:
            self.cut = True
        else:
            self.finish_reason = reason
        self.flush()

    def _take(self, field_name: str, piece: str) -> str:
        """Add a piece of text; a surrogate pair that was split between two pieces is rejoined."""
        piece = self._held[field_name] + piece
        if not piece:
            return ""
        self._held[field_name] = ""
        if "\ud800" <= piece[-1] <= "\udbff":
            self._held[field_name], piece = piece[-1], piece[:-1]
        piece = self._clean(piece)
        if piece:
            (self._content if field_name == "content" else self._reasoning).append(piece)
        return piece

    def _clean(self, text: str) -> str:
        cleaned = clean_text(text)
        if cleaned is not text:
            self.bad_unicode = self.bad_unicode or "\ufffd" in cleaned
        return cleaned

    def _add_tools(self, tools: Any) -> None:
        if not isinstance(tools, list | tuple):
            raise EngineGarbage("The model server sent tool_calls that are not a list.")
        for position, piece in enumerate(tools):
            function = piece.get("function") if isinstance(piece, Mapping) else None
            if not isinstance(function, Mapping):
                raise EngineGarbage("The model server sent a tool call without a function.")
            index = piece.get("index", position)
            tool = self._tools.setdefault(index if isinstance(index, int) else position, _Tool())
            tool.id = tool.id or self._clean(_text(piece.get("id")))
            tool.name += self._clean(_text(function.get("name")))
            arguments = function.get("arguments")
            if isinstance(arguments, Mapping):
                arguments = orjson.dumps(arguments).decode()
            tool.arguments.append(self._clean(_text(arguments)))

    def _add_logprobs(self, logprobs: Any) -> list[Any]:
        entries = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        if not isinstance(entries, list):
            return []
        for entry in entries:
            if not isinstance(entry, Mapping):
                raise EngineGarbage("The model server sent a logprob that is not an object.")
            mu = entry.get("logprob")
            self._mus.append(float(mu) if isinstance(mu, int | float) else math.nan)
            if isinstance(entry.get("id"), int):
                self._entry_ids.append(entry["id"])
        if self._keep_logprobs:
            self._entries.extend(entries)
        return entries

    def _add_ids(self, ids: Any) -> None:
        if ids is None:
            return
        if not isinstance(ids, list) or not all(isinstance(token, int) for token in ids):
            raise EngineGarbage("The model server sent token_ids that are not a list of integers.")
        self._ids.extend(ids)


def clean_text(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _scrub(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        return value if key in TEXT_KEYS else clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): _scrub(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_scrub(inner) for inner in value]
    return value


def _text(value: Any) -> str:
    """A string field, or the text parts of a part list."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    raise EngineGarbage(f"The model server sent {type(value).__name__} where text belongs.")
