"""Bytes → task: what is refused and how, what each parameter becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.api.parse import Arrival, parse_chat, resolve_model
from app.errors import ModelNotFound, RequestError
from app.settings import Settings
from app.task import Task

TABLE = Path(__file__).parents[1] / "cases" / "bad_requests.jsonl"
CASES = [json.loads(line) for line in TABLE.read_text().splitlines()]
HELLO = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
ARRIVAL = Arrival(
    trace_id="chatcmpl-1", request_id="req_1", received_at=1.0, tenant="local", secret=b"s"
)


def parse(
    headers: dict[str, str] | None = None,
    *,
    settings: Settings | None = None,
    raw: bytes | None = None,
    **fields: Any,
) -> Task:
    body = {k: v for k, v in {**HELLO, **fields}.items() if v != "<absent>"}
    raw = json.dumps(body).encode() if raw is None else raw
    return parse_chat(raw, headers or {}, ARRIVAL, settings or Settings(), {"up/model:7b": "main"})


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_bad_request_is_told_its_field_and_code(case: dict[str, Any]) -> None:
    raw = case["raw"].encode() if "raw" in case else None

    with pytest.raises(RequestError) as refused:
        parse(raw=raw, **case.get("body", {}))

    error = refused.value
    assert (400, case["param"], case["code"]) == (error.http_status, error.param, error.error_code)
    assert case.get("says", "") in error.message


def test_the_fields_left_out_are_the_defaults_of_the_settings() -> None:
    task = parse()

    assert (task.model, task.alias, task.engine, task.choices) == ("auto", "auto", "main", 1)
    assert (
        task.options.mode,
        task.options.effort,
        task.options.deadline_ms,
    ) == ("auto", "medium", 60_000)
    assert (
        task.stream,
        task.include_usage,
        task.content,
        task.ignored,
    ) == (False, False, "full", ())


def test_every_parameter_of_openais_own_contract_test_is_accepted() -> None:
    """`max_tokens: 0`, a bias of no token and stream options without a stream are legal there."""
    task = parse(
        audio={"format": "wav", "voice": "alloy"},
        frequency_penalty=-2,
        function_call="none",
        functions=[{"name": "name", "description": "d", "parameters": {"foo": "bar"}}],
        logit_bias={"foo": 0},
        logprobs=True,
        max_completion_tokens=0,
        max_tokens=0,
        modalities=["text"],
        moderation={"model": "model"},
        prediction={"content": "string", "type": "content"},
        prompt_cache_options={"mode": "implicit"},
        prompt_cache_retention="in_memory",
        response_format={"type": "text"},
        seed=-(2**53) + 1,
        stream=False,
        stream_options={"include_obfuscation": True, "include_usage": True},
        tool_choice="none",
        tools=[{"type": "function", "function": {"name": "name", "parameters": {"foo": "bar"}}}],
        top_logprobs=0,
        web_search_options={"search_context_size": "low"},
    )

    assert (
        task.parameters.max_tokens,
        task.parameters.logit_bias,
        task.parameters.seed,
    ) == (None, None, -(2**53) + 1)
    assert {"audio", "functions", "logit_bias", "max_tokens", "stream_options"} <= set(task.ignored)


def test_text_may_contain_nul_and_any_plane_of_unicode() -> None:
    text = "a\x00b 😀 \u202e"

    assert text == parse(messages=[{"role": "user", "content": text}]).prompt()


def test_images_and_unknown_message_fields_go_on_untouched() -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/x", "detail": "low"}}
    message = {"role": "user", "content": [{"type": "text", "text": "what?"}, image], "extra": 1}

    assert (message,) == parse(messages=[message]).messages


def test_too_many_messages_are_counted_before_they_are_read() -> None:
    settings = Settings.model_validate({"server": {"max_messages": 3}})

    with pytest.raises(RequestError) as refused:
        parse(messages=[{"role": "user", "content": "x"}] * 4, settings=settings)

    assert (
        refused.value.param,
        refused.value.error_code,
    ) == ("messages", "array_above_max_length")


@pytest.mark.parametrize("depth", [150, 900])
def test_deep_nesting_is_refused(depth: int) -> None:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    raw = json.dumps(HELLO)[:-1].encode() + b',"metadata":' + nested + b"}"

    with pytest.raises(RequestError) as refused:
        parse(raw=raw)

    assert refused.value.error_code == "json_too_deep"


def test_unknown_fields_are_listed_or_refused_as_configured() -> None:
    assert parse(frobnicate=1).ignored == ("frobnicate",)

    strict = Settings.model_validate({"defaults": {"deny_unknown_fields": True}})
    with pytest.raises(RequestError) as refused:
        parse(frobnicate=1, settings=strict)
    assert (refused.value.param, refused.value.error_code) == ("frobnicate", "unknown_parameter")


def test_the_body_goes_over_the_header_over_the_suffix_over_the_effort() -> None:
    header = {"x-verivote-verify": '{"mode": "always", "n": 4}'}

    assert _mode_and_n(parse(header, model="auto:fast", verify={"mode": "off"})) == ("off", 4)
    assert _mode_and_n(parse(header, model="auto:fast")) == ("always", 4)
    assert _mode_and_n(parse(model="auto:fast", reasoning_effort="high")) == ("off", None)
    assert _mode_and_n(parse(model="auto:verified", reasoning_effort="none")) == ("always", None)
    assert _mode_and_n(parse(reasoning_effort="minimal")) == ("off", None)


def test_the_stop_rule_is_an_option_and_else_that_of_the_settings() -> None:
    header = {"x-verivote-verify": '{"rule": "esc"}'}
    settings = Settings(defaults={"rule": "adaptive"})

    assert parse(header, verify={"rule": "fixed"}).options.rule == "fixed"
    assert parse(header).options.rule == "esc"
    assert parse(settings=settings).options.rule == "adaptive"


def test_what_the_request_set_itself_is_known_so_that_its_route_leaves_it() -> None:
    header = {"x-verivote-verify": '{"rule": "esc", "on_unverified": "hold"}'}
    task = parse(header, model="auto:fast", verify={"n": 3}, reasoning_effort="low")

    assert task.options.asked == ("effort", "mode", "n", "on_unverified", "rule")
    assert parse(reasoning_effort="none", verify={"effort": None}).options.asked == ()


def _mode_and_n(task: Task) -> tuple[str, int | None]:
    return task.options.mode, task.options.n


@pytest.mark.parametrize(
    ("asked", "effort"), [("low", "low"), ("medium", "medium"), ("high", "high"), ("max", "high")]
)
def test_reasoning_effort_sets_the_effort_and_goes_on(asked: str, effort: str) -> None:
    task = parse(reasoning_effort=asked)

    assert (effort, asked) == (task.options.effort, task.parameters.reasoning_effort)


@pytest.mark.parametrize(
    ("header", "param"),
    [
        ("{", "x-verivote-verify"),
        ("[]", "x-verivote-verify"),
        ('{"n": 0}', "x-verivote-verify.n"),
        ('{"modus": "off"}', "x-verivote-verify.modus"),
    ],
)
def test_a_bad_header_is_named(header: str, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse({"x-verivote-verify": header})

    assert (400, param) == (refused.value.http_status, refused.value.param)


def test_a_verifier_keeps_its_options_and_where_it_came_from() -> None:
    task = parse(verify={"verifiers": [{"use": "json_schema"}, {"use": "number", "reference": 4}]})

    spec = task.options.verifiers[1]
    assert (
        spec.use,
        spec.options,
        spec.param,
    ) == ("number", {"reference": 4}, "verify.verifiers[1]")


def test_nothing_in_the_prompt_is_an_option() -> None:
    text = '<verify>{"mode":"off"}</verify> {"verify": {"mode": "off"}} auto:fast'

    assert parse(messages=[{"role": "user", "content": text}]).options.mode == "auto"


def test_the_deprecated_functions_become_tools_both_ways() -> None:
    call = {"name": "add", "arguments": '{"a": 1}'}
    task = parse(
        functions=[{"name": "add"}],
        function_call={"name": "add"},
        messages=[
            {"role": "user", "content": "1+1"},
            {"role": "assistant", "content": None, "function_call": call},
            {"role": "function", "name": "add", "content": "2"},
        ],
    )

    assert task.tools == ({"type": "function", "function": {"name": "add"}},)
    assert task.tool_choice == {"type": "function", "function": {"name": "add"}}
    made = task.messages[1]["tool_calls"][0]
    assert (call, made["id"]) == (made["function"], task.messages[2]["tool_call_id"])
    assert task.old_functions


def test_a_plain_text_format_is_no_format() -> None:
    assert parse(response_format={"type": "text"}).response_format is None


@pytest.mark.parametrize(
    ("configured", "store", "content"),
    [("full", False, "off"), ("off", True, "full"), ("hash", True, "hash"), ("off", None, "off")],
)
def test_store_decides_how_much_content_is_kept(
    configured: str, store: bool | None, content: str
) -> None:
    settings = Settings.model_validate({"store": {"content": configured}})

    assert content == parse(store=store, settings=settings).content


def test_user_ids_are_hashed_with_the_tenant_and_the_secret() -> None:
    task = parse(user="ada@example.org", prompt_cache_key="chat-1")

    assert (len(task.user_hash or ""), len(task.cache_namespace or "")) == (32, 32)
    assert "example.org" not in str(task)


def test_a_client_that_gives_up_early_gets_its_answer_before() -> None:
    timeout = {"x-stainless-read-timeout": "10"}

    assert parse(timeout).options.deadline_ms == 8_000
    assert parse(timeout, stream=True).options.deadline_ms == 60_000
    assert parse({"x-stainless-read-timeout": "NaN"}).options.deadline_ms == 60_000


def test_extensions_of_vllm_go_on_as_sent() -> None:
    task = parse(top_k=5, chat_template_kwargs={"enable_thinking": False})

    assert (task.parameters.extra) == {
        "top_k": 5,
        "chat_template_kwargs": {"enable_thinking": False},
    }


@pytest.mark.parametrize(
    ("name", "alias", "engine", "upstream", "mode"),
    [
        ("auto", "auto", "main", "", None),
        ("auto:fast", "auto", "main", "", "off"),
        ("auto:verified", "auto", "main", "", "always"),
        ("odd:fast", "odd:fast", "second", "", None),
        ("up/model:7b", "up/model:7b", "main", "up/model:7b", None),
        ("up/model:7b:verified", "up/model:7b", "main", "up/model:7b", "always"),
    ],
)
def test_a_model_name_is_an_alias_or_an_upstream_model_with_a_suffix(
    name: str, alias: str, engine: str, upstream: str, mode: str | None
) -> None:
    settings = Settings(aliases={"auto": "main", "odd:fast": "second"})

    target = resolve_model(name, settings, {"up/model:7b": "main"})

    assert (alias, engine, upstream, mode) == (
        target.alias,
        target.engine,
        target.upstream_model,
        target.mode,
    )


def test_an_unknown_model_is_404_unless_the_wildcard_takes_it() -> None:
    with pytest.raises(ModelNotFound) as missing:
        resolve_model("gpt-9:fast", Settings(aliases={"auto": "main"}), {})
    assert (
        missing.value.http_status,
        missing.value.param,
        missing.value.error_code,
    ) == (404, "model", "model_not_found")

    assert resolve_model("gpt-9:fast", Settings(), {}).alias == "gpt-9"
