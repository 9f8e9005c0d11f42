"""Bytes → task: the only way into the gateway. Pure; time, ids and the caller are passed in.

Nothing of the prompt's text is ever read as an option.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from json import loads
from typing import Any

import orjson
from pydantic import ValidationError

from app.api.invalid import explain, fault
from app.api.wire import EXTENSIONS, WITHOUT_EFFECT, ChatForm, VerifyForm
from app.errors import ModelNotFound, RequestError
from app.settings import Settings
from app.task import ContentLevel, Effort, Mode, Options, Parameters, Task
from verifiers.base import VerifierSpec

MAX_DEPTH = 100
VERIFY_HEADER = "x-verivote-verify"
READ_TIMEOUT_HEADER = "x-stainless-read-timeout"
SUFFIX_MODES: Mapping[str, Mode] = {":fast": "off", ":verified": "always"}
EFFORTS: Mapping[str, Effort] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""`reasoning_effort` → effort; none and minimal switch voting off instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What is known of a request besides its body."""

    trace_id: str
    request_id: str
    received_at: float
    """Unix time in seconds."""
    tenant: str
    secret: bytes
    """Key of the hashes that stand for user ids and cache keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a model name stands for."""

    alias: str
    engine: str
    upstream_model: str = ""
    """Set when the name is a model of the upstream itself."""
    mode: Mode | None = None
    """What a suffix of the name asks for."""


def parse_chat(
    body: bytes,
    headers: Mapping[str, str],
    arrival: Arrival,
    settings: Settings,
    models: Mapping[str, str],
) -> Task:
    """Check a chat completion request and turn it into a task.

    `models` maps the upstream's model ids to engine names. Raises `RequestError` with the exact
    `param`, `ModelNotFound` for a name that stands for nothing.
    """
    data = parse_object(body)
    most = settings.server.max_messages
    if isinstance(data.get("messages"), list) and len(data["messages"]) > most:
        found = len(data["messages"])
        raise fault(
            "array_above_max_length",
            f"'messages' has {found} elements, at most {most} are allowed.",
            "messages",
        )
    try:
        form = ChatForm.model_validate(data)
    except ValidationError as invalid:
        raise explain(invalid, ChatForm) from None
    ignored = _ignored(form, data, deny=settings.defaults.deny_unknown_fields)
    target = resolve_model(form.model, settings, models)
    old_style = bool(form.functions) and not form.tools
    return Task(
        trace_id=arrival.trace_id,
        request_id=arrival.request_id,
        received_at=arrival.received_at,
        tenant=arrival.tenant,
        model=form.model,
        alias=target.alias,
        engine=target.engine,
        upstream_model=target.upstream_model,
        messages=_messages(data["messages"]),
        parameters=_parameters(form, data),
        options=_options(form, headers, target, settings),
        choices=form.n or 1,
        tools=_tools(data, old_style=old_style),
        tool_choice=_tool_choice(data, old_style=old_style),
        parallel_tool_calls=form.parallel_tool_calls,
        old_functions=old_style,
        response_format=_response_format(data),
        stream=bool(form.stream),
        include_usage=bool(form.stream) and _wants_usage(form),
        service_tier=form.service_tier,
        metadata=form.metadata or {},
        store=form.store,
        content=_content(form.store, settings.store.content),
        user_hash=_hashed(form.safety_identifier or form.user, arrival),
        cache_namespace=_hashed(form.prompt_cache_key, arrival),
        ignored=ignored,
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object without NaN, lone surrogates, duplicate keys or excessive nesting."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as broken:
        raise fault("invalid_json", f"The body is not valid JSON: {broken}.") from None
    if not isinstance(data, dict):
        raise fault("invalid_type", "The body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise fault("json_too_deep", f"The body is nested deeper than {MAX_DEPTH} levels.")
    # The strict parser keeps the last of two equal keys; a proxy in front may have read the first.
    loads(body, object_pairs_hook=_refuse_duplicates)
    return data


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({key for key, _ in pairs}) < len(pairs):
        seen = set[str]()
        for key, _ in pairs:
            if key in seen:
                raise fault("duplicate_key", f"Key '{key[:60]}' appears twice in one object.")
            seen.add(key)


def _depth(data: Any) -> int:
    depth, level = 0, [data]
    while level:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return depth


def resolve_model(name: str, settings: Settings, models: Mapping[str, str]) -> Target:
    """Exact alias, exact upstream id, then the same without suffix, then the wildcard alias."""
    stem, mode = name, None
    for suffix, wanted in SUFFIX_MODES.items():
        if name.endswith(suffix) and len(name) > len(suffix):
            stem, mode = name.removesuffix(suffix), wanted
    for candidate, asked in dict([(name, None), (stem, mode)]).items():
        if candidate in settings.aliases and candidate != "*":
            return Target(alias=candidate, engine=settings.aliases[candidate], mode=asked)
        if candidate in models:
            return Target(
                alias=candidate, engine=models[candidate], upstream_model=candidate, mode=asked
            )
    if "*" in settings.aliases:
        return Target(alias=stem, engine=settings.aliases["*"], mode=mode)
    raise ModelNotFound(f"The model '{name}' does not exist.", param="model")


def read_timeout_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until OpenAI's own clients give up, where they say so."""
    try:
        seconds = float(headers.get(READ_TIMEOUT_HEADER, ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _options(
    form: ChatForm, headers: Mapping[str, str], target: Target, settings: Settings
) -> Options:
    """Body over header over model suffix over reasoning effort over configuration."""
    header = _verify_header(headers.get(VERIFY_HEADER))
    given: dict[str, Any] = {}
    for verify, param in ((header, VERIFY_HEADER), (form.verify, "verify")):
        if verify is None:
            continue
        for key in verify.model_fields_set:
            if (value := getattr(verify, key)) is not None:
                given[key] = value
        if verify.verifiers is not None:
            given["verifiers"] = _specs(verify, f"{param}.verifiers")
    defaults, effort = settings.defaults, form.reasoning_effort
    mode = target.mode or ("off" if effort in ("none", "minimal") else defaults.mode)
    asked = {*given, *(["effort"] if effort in EFFORTS else []), *(["mode"] if target.mode else [])}
    deadline_ms = given.get("deadline_ms", defaults.deadline_ms)
    if not form.stream and (timeout_s := read_timeout_s(headers)) is not None:
        # Answer with the best there is before the client hangs up; a stream is kept alive instead.
        deadline_ms = max(1, min(deadline_ms, int(max(timeout_s - 2, timeout_s / 2) * 1000)))
    return Options(
        mode=given.get("mode", mode),
        n=given.get("n"),
        effort=given.get("effort") or EFFORTS.get(effort or "", defaults.effort),
        deadline_ms=deadline_ms,
        verifiers=given.get("verifiers", ()),
        on_unverified=given.get("on_unverified", defaults.on_unverified),
        cache=given.get("cache", "on"),
        include=tuple(given.get("include", ())),
        rule=given.get("rule", defaults.rule),
        asked=tuple(sorted(asked)),
    )


def _verify_header(text: str | None) -> VerifyForm | None:
    if text is None:
        return None
    try:
        return VerifyForm.model_validate(parse_object(text.encode("latin-1")))
    except ValidationError as invalid:
        raise explain(invalid, VerifyForm, VERIFY_HEADER) from None
    except RequestError as broken:
        message = f"{VERIFY_HEADER}: {broken.message}"
        raise RequestError(message, param=VERIFY_HEADER, code=broken.error_code) from None


def _specs(verify: VerifyForm, param: str) -> tuple[VerifierSpec, ...]:
    return tuple(
        VerifierSpec(
            use=spec.use, options=spec.model_extra or {}, source="request", param=f"{param}[{i}]"
        )
        for i, spec in enumerate(verify.verifiers or ())
    )


def _parameters(form: ChatForm, data: Mapping[str, Any]) -> Parameters:
    stop = (form.stop,) if isinstance(form.stop, str) else tuple(form.stop or ())
    return Parameters(
        temperature=form.temperature,
        top_p=form.top_p,
        max_tokens=form.max_completion_tokens or form.max_tokens or None,
        stop=tuple(text for text in stop if text),
        seed=form.seed,
        logprobs=bool(form.logprobs),
        top_logprobs=form.top_logprobs if form.logprobs else None,
        presence_penalty=form.presence_penalty,
        frequency_penalty=form.frequency_penalty,
        logit_bias=_token_biases(form) or None,
        reasoning_effort=form.reasoning_effort,
        verbosity=form.verbosity,
        extra={name: data[name] for name in EXTENSIONS if data.get(name) is not None},
    )


def _token_biases(form: ChatForm) -> dict[str, float]:
    """Biases of token ids; OpenAI's own contract test sends a key that is none."""
    return {token: bias for token, bias in (form.logit_bias or {}).items() if token.isdecimal()}


def _wants_usage(form: ChatForm) -> bool:
    return bool(form.stream_options and form.stream_options.include_usage)


def _ignored(form: ChatForm, data: Mapping[str, Any], *, deny: bool) -> tuple[str, ...]:
    """Names of the parameters that were sent and have no effect, in alphabetical order."""
    unknown = sorted(form.model_extra or ())
    if unknown and deny:
        raise fault("unknown_parameter", f"'{unknown[0]}' is not known.", unknown[0])
    names = set(unknown)
    names.update(name for name in WITHOUT_EFFECT if data.get(name) is not None)
    names.update(name for name in ("max_tokens", "max_completion_tokens") if data.get(name) == 0)
    if form.stream_options is not None and not form.stream:
        names.add("stream_options")
    if form.top_logprobs is not None and not form.logprobs:
        names.add("top_logprobs")
    if form.logit_bias and len(_token_biases(form)) < len(form.logit_bias):
        names.add("logit_bias")
    if form.tool_choice is not None and not (form.tools or form.functions):
        names.add("tool_choice")
    if form.tools:
        names.update(n for n in ("functions", "function_call") if data.get(n) is not None)
    return tuple(sorted(names))


def _messages(messages: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """As sent; the deprecated function form becomes calls and results of tools."""
    done: list[dict[str, Any]] = []
    called = ""
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and message.get("function_call"):
            called = f"call_{index}"
            rest = {key: value for key, value in message.items() if key != "function_call"}
            call = {"id": called, "type": "function", "function": message["function_call"]}
            message = {**rest, "tool_calls": [call]}
        elif message["role"] == "function":
            message = {
                "role": "tool",
                "tool_call_id": called or f"call_{index}",
                "name": message["name"],
                "content": message.get("content") or "",
            }
        done.append(message)
    return tuple(done)


def _tools(data: Mapping[str, Any], *, old_style: bool) -> tuple[Mapping[str, Any], ...]:
    if old_style:
        return tuple({"type": "function", "function": one} for one in data["functions"])
    return tuple(data.get("tools") or ())


def _tool_choice(data: Mapping[str, Any], *, old_style: bool) -> Any:
    if not old_style:
        return data.get("tool_choice") if data.get("tools") else None
    choice = data.get("function_call")
    return {"type": "function", "function": choice} if isinstance(choice, dict) else choice


def _response_format(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """None for plain text, so nobody downstream needs to know that type."""
    wanted: Mapping[str, Any] | None = data.get("response_format")
    return None if wanted is None or wanted["type"] == "text" else wanted


def _content(store: bool | None, configured: ContentLevel) -> ContentLevel:
    """`store: false` keeps nothing; `store: true` opts in where the server keeps nothing."""
    if store is False:
        return "off"
    return "full" if store and configured == "off" else configured


def _hashed(value: str | None, arrival: Arrival) -> str | None:
    if not value:
        return None
    told = f"{arrival.tenant}\x1f{value}".encode()
    return hmac.new(arrival.secret, told, sha256).hexdigest()[:32]
