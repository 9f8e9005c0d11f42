from __future__ import annotations

import json
import shlex

from app.task import Options, Parameters
from app.ui.raw_request import repeat_command, request_body
from tests.ui.sample_groups import make_task, tool_call
from verifiers.base import VerifierSpec


def test_only_what_was_sent_is_in_the_body():
    task = make_task(1, "Hi", parameters=Parameters(temperature=0.0, max_tokens=9), choices=2)

    assert request_body(task) == {
        "model": "auto",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.0,
        "max_completion_tokens": 9,
        "n": 2,
    }


def test_gateway_options_are_there_when_they_differ_and_attached_verifiers_are_not():
    specs = (
        VerifierSpec(use="number", options={"reference": "42"}),
        VerifierSpec(use="calculator", source="auto"),
    )
    task = make_task(1, "Hi", options=Options(effort="high", verifiers=specs))

    assert request_body(task)["verify"] == {
        "effort": "high",
        "verifiers": [{"use": "number", "reference": "42"}],
    }


def test_the_command_carries_exactly_this_body_whatever_the_quotes():
    task = make_task(1, 'it\'s "quoted" $(rm -rf /) `x` \\ \n end')
    words = shlex.split(repeat_command(task, "http://gw:1", with_key=True))

    assert words[:2] == ["curl", "http://gw:1/v1/chat/completions"]
    assert json.loads(words[-1]) == request_body(task)
    assert "Authorization: Bearer $OPENAI_API_KEY" in words


def test_a_large_integer_survives_in_the_command():
    command = repeat_command(tool_call().task, "http://gw:1", with_key=False)

    assert "9007199254740993" in command


def test_a_request_too_long_for_a_command_has_none():
    assert repeat_command(make_task(1, "x" * 20_000), "http://gw:1", with_key=False) == ""


def test_a_request_that_is_not_stored_has_no_command():
    assert repeat_command(make_task(1, "Hi", store=False), "http://gw:1", with_key=False) == ""
