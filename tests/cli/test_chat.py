from __future__ import annotations

import socket

import pytest

from app.cli.chat import Piece, printable, status_line
from tests.cli.command import serving, verivote
from tests.cli.upstreams import fake_upstream


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    data = str(tmp_path_factory.mktemp("data"))
    with (
        fake_upstream("scripted") as upstream,
        serving("--upstream", upstream, "--port", "0", "--data", data) as (_, line),
    ):
        yield line.split(" serves ")[1].split(" ")[0]


def test_one_question_prints_the_answer_and_how_sure_it_is(url):
    done = verivote("chat", "What is 2 + 2?", "--url", url)

    assert (done.returncode, done.stdout) == (0, "4\n")
    assert done.stderr.startswith("verified · ")
    assert f"{url.removesuffix('/v1')}/traces/chatcmpl-" in done.stderr


def test_a_conversation_reads_questions_until_the_end_of_input(url):
    done = verivote("chat", stdin="What is 2 + 2?\n\nWhat is 1 + 3?\n", OPENAI_BASE_URL=url)

    assert (done.returncode, done.stdout) == (0, "4\n4\n")


def test_what_the_gateway_refuses_is_one_line(url):
    done = verivote("chat", "hi", "--url", url.removesuffix("/v1") + "/v2")

    assert done.returncode == 1
    assert done.stderr.startswith("verivote: ")
    assert done.stderr.count("\n") == 1


def test_no_gateway_is_exit_3_and_names_the_address():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    done = verivote("chat", "hi", "--url", f"http://127.0.0.1:{port}/v1")

    assert done.returncode == 3
    assert f"no gateway at http://127.0.0.1:{port}/v1/" in done.stderr


def test_model_text_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\r\u202ec\n\td") == "a[2Jbc\n\td"


def test_other_choices_and_empty_deltas_add_nothing():
    chunk = {
        "choices": [
            {"index": 0, "delta": {"content": None}},
            {"index": 1, "delta": {"content": "other"}},
        ]
    }

    assert Piece.parse(chunk) == Piece("", {})


def test_a_server_without_verification_is_said_to_be_one():
    assert "says nothing about verification" in status_line({}, "http://h/v1/")
