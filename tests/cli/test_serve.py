from __future__ import annotations

import json
import re
import signal
import socket

import httpx
import pytest

from app.cli.serve import announcement, engine_flags, with_sdk_engine
from app.errors import ConfigError
from app.settings import load_settings
from tests.cli.command import serving, verivote
from tests.cli.upstreams import fake_upstream

ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}


def url_in(line: str) -> str:
    return re.search(r"serves (http://\S+)/v1", line)[1]


def test_without_a_model_server_it_shows_the_ways_to_name_one():
    done = verivote("serve")

    assert done.returncode == 2
    for way in (
        "--upstream http",
        "--model NAME",
        "--embedded",
        "OPENAI_BASE_URL=",
        "--config FILE",
    ):
        assert way in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--upstream", "http://h/v1", "--embedded"), "give --upstream or --embedded, not both"),
        (("--upstream", "http://h/v1", "--model", "m"), "give --upstream or --model, not both"),
        (("--model", "m", "--embedded"), "give --model or --embedded, not both"),
        (("--embedded", "--upstream-model", "m"), "--upstream-model needs --upstream"),
        (("--model", "./none"), "engines.main.model: './none' is no folder with a model's files"),
        (("--model", "m", "--port", "0"), "there is no vLLM in"),
        (("--upstream", "h:8000"), "engines.main.base_url: must begin with http:// or https://"),
        (("--config", "no-such.toml"), "config file 'no-such.toml' does not exist"),
        (("--embedded", "--host", "0.0.0.0"), 'set server.keys = "required"'),
    ],
)
def test_a_flag_that_cannot_be_used_is_one_line_and_exit_2(arguments, message):
    done = verivote("serve", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("verivote: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line_and_exit_3(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = verivote(
            "serve", "--upstream", "http://h/v1", "--port", port, "--data", str(tmp_path)
        )

    expected = f"verivote: cannot listen on 127.0.0.1:{port}: the port is in use; try --port 0\n"
    assert (done.returncode, done.stderr) == (3, expected)


def test_the_sdks_variables_name_the_model_server():
    environ = {"OPENAI_BASE_URL": "http://h:1/v1", "OPENAI_API_KEY": "k"}

    engine = with_sdk_engine(load_settings(environ={}), environ).engines["main"]

    assert (engine.base_url, engine.api_key) == ("http://h:1/v1", "env:OPENAI_API_KEY")


def test_a_configured_engine_wins_over_the_sdks_variables():
    settings = load_settings(environ={}, flags=engine_flags("http://a/v1", None, False, {}))

    assert with_sdk_engine(settings, {"OPENAI_BASE_URL": "http://b/v1"}) == settings


def test_the_gateways_own_address_is_no_model_server():
    with pytest.raises(ConfigError, match="this gateway itself"):
        with_sdk_engine(load_settings(environ={}), {"OPENAI_BASE_URL": "http://localhost:8080/v1"})


def test_the_line_it_prints_names_address_engine_and_traces():
    settings = load_settings(environ={}, flags=engine_flags("http://a/v1", None, False, {}))

    line = announcement(settings, "http://127.0.0.1:1")

    assert "serves http://127.0.0.1:1/v1 · engine: http://a/v1 · " in line
    assert line.endswith("traces: http://127.0.0.1:1/traces")


def test_it_answers_and_ends_with_0_on_sigterm(tmp_path):
    with (
        fake_upstream("scripted") as upstream,
        serving("--upstream", upstream, "--port", "0", "--data", str(tmp_path)) as (process, line),
    ):
        reply = httpx.post(f"{url_in(line)}/v1/chat/completions", json=ASK, timeout=30)
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)

    assert reply.json()["verification"]["status"] == "verified"
    assert code == 0


def test_an_open_stream_ends_when_the_grace_period_is_over(tmp_path):
    with (
        fake_upstream("hold") as upstream,
        serving(
            *("--upstream", upstream, "--port", "0", "--data", str(tmp_path)),
            VERIVOTE__SERVER__GRACE_S="1",
        ) as (process, line),
        httpx.stream(
            "POST", f"{url_in(line)}/v1/chat/completions", json={**ASK, "stream": True}, timeout=60
        ) as reply,
    ):
        first = next(reply.iter_raw())
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)

    assert b'"role":"assistant"' in first
    assert code == 0


def test_logs_are_one_json_object_a_line_when_nobody_watches(tmp_path):
    blocked = tmp_path / "data"
    with serving(
        *("--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--data", str(blocked)),
    ) as (process, line):
        httpx.post(f"{url_in(line)}/v1/chat/completions", json=ASK, timeout=60)
        process.send_signal(signal.SIGTERM)
        logged = process.communicate(timeout=30)[1].splitlines()

    assert all({"time", "level", "logger", "message"} <= set(json.loads(entry)) for entry in logged)
