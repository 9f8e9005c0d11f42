"""The demo's tasks, its table and what it shows, on values; tests/e2e/test_demo.py runs it."""

from __future__ import annotations

import io
import socket
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from rich.console import Console

from app.cli.demo import (
    METHODS,
    Line,
    Reply,
    Show,
    ask,
    curl_line,
    most_instructive,
    summarise,
    table_of,
)
from app.cli.demo_tasks import FAMILIES, DemoTask, make_tasks
from tests.cli.command import verivote
from verifiers.arithmetic import evaluate, find_question
from verifiers.extract import guess_contract

SUM = DemoTask(family="arithmetic", prompt="Compute 2 + 3.", result=5)


def a_reply(text: str = "2 + 3 = 5", *said: str, **verification: Any) -> Reply:
    trace = {"scored": [{"answer": {"key": key or None}} for key in said]}
    told = {"status": "unverified", "samples": max(1, len(said)), "trace": trace, **verification}
    return Reply(task=SUM, text=text, finish_reason="stop", verification=told)


def test_tasks_are_the_same_every_time_and_none_is_asked_twice():
    tasks = make_tasks(200)

    assert tasks == make_tasks(200)
    assert len({task.prompt for task in tasks}) == 200
    assert [sum(t.family == family for t in make_tasks(40)) for family in FAMILIES] == [24, 16]


@pytest.mark.parametrize("task", make_tasks(200)[:120:7], ids=lambda task: task.prompt)
def test_every_sum_is_one_that_the_calculator_recomputes_to_the_known_result(task):
    assert evaluate(find_question(task.prompt)) == task.result


@pytest.mark.parametrize("task", make_tasks(40)[24:], ids=lambda task: task.prompt[:40])
def test_no_word_problem_is_recomputed_and_every_one_can_be_voted_on(task):
    assert find_question(task.prompt) is None
    assert guess_contract(task.prompt, "").kind == "number"


def test_neither_method_sends_a_reference_or_a_verifier():
    """What is asked with must be what any user has: the prompt."""
    assert all(not {"verifiers", "reference"} & set(options) for options in METHODS.values())


@pytest.mark.parametrize(
    ("text", "finish_reason", "solved"),
    [
        ("2 + 3 = 5", "stop", True),
        ("The answer is 5.", "stop", True),
        ("2 + 3 = 6", "stop", False),
        ("I like numbers.", "stop", False),
        ("", None, False),
        ("2 + 3 = 5 and then", "length", False),
    ],
)
def test_a_reply_is_solved_when_its_answer_is_the_known_result(text, finish_reason, solved):
    reply = Reply(task=SUM, text=text, finish_reason=finish_reason)

    assert reply.is_solved is solved


def test_a_line_counts_solved_verified_and_samples():
    replies = [
        a_reply("= 5", "5", status="verified", samples=3),
        a_reply("= 6", "6", samples=8),
        Reply(task=SUM, error="the gateway did not answer"),
    ]

    line = summarise("arithmetic", "verify-and-vote", replies, 1.5)

    assert line == Line(
        family="arithmetic",
        method="verify-and-vote",
        tasks=3,
        solved=1,
        verified=1,
        samples=11,
        seconds=1.5,
    )


def test_the_most_instructive_answer_is_the_verified_one_whose_samples_disagreed_most():
    split = a_reply("= 5", "7", "", "9", "7", "5", status="verified")
    replies = [
        a_reply("= 5", "5", "6", status="verified"),
        split,
        a_reply("= 6", "1", "2", "3", "4", status="agreed"),
    ]

    assert most_instructive(replies) is split
    assert split.answers == ("7", "9", "5")


def test_without_a_verified_answer_none_is_instructive():
    assert most_instructive([a_reply(), Reply(task=SUM, error="lost")]) is None


def test_the_table_keeps_families_and_methods_apart_and_fits_a_narrow_terminal():
    lines = [
        Line(
            family="word problem",
            method="verify-and-vote",
            tasks=16,
            solved=10,
            verified=0,
            samples=120,
            seconds=27.44,
        )
    ]
    out = io.StringIO()
    Console(file=out, width=70).print(table_of(lines))

    heading, row = (" ".join(line.split()) for line in out.getvalue().splitlines())
    assert heading == "family method solved verified samples seconds"
    assert row == "word problem verify-and-vote 10 of 16 – 120 27.4"


async def test_failed_requests_are_counted_with_their_reason():
    def gateway(request: httpx.Request) -> httpx.Response:
        if b'mode":"off' in request.content.replace(b" ", b""):
            raise httpx.ConnectError("refused")
        return httpx.Response(502, json={"error": {"message": "The model server is away."}})

    transport = httpx.MockTransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway/v1") as client:
        lost = await ask(client, [SUM], "single sample", lambda: None)
        refused = await ask(client, [SUM, SUM], "verify-and-vote", lambda: None)

    assert [reply.error for reply in lost] == ["the gateway did not answer (ConnectError)"]
    assert [reply.error for reply in refused] == ["The model server is away."] * 2


@pytest.mark.parametrize(
    ("answers", "failed"),
    [((a_reply(), Reply(task=SUM, error="lost")), False), ((Reply(task=SUM, error="lost"),), True)],
)
def test_a_show_that_stays_fails_only_when_nothing_was_answered(answers, failed):
    shown = _shown(answers, stay=True)

    assert shown.failed is failed
    assert f"1 of {len(answers)} requests failed: lost" in shown.out.file.getvalue()


def test_a_show_that_ends_fails_when_anything_was_not_answered():
    assert _shown((a_reply(), Reply(task=SUM, error="lost")), stay=False).failed is True


def test_what_it_prints_can_be_copied():
    """One line each, however narrow the terminal: curl, both variables, the trace."""
    best = a_reply("= 5", "6", "5", status="verified", trace_id="chatcmpl-01JD")
    printed = _shown((best,), stay=True).out.file.getvalue().splitlines()

    assert f"  {curl_line('http://127.0.0.1:1')}" in printed
    assert "  export OPENAI_BASE_URL=http://127.0.0.1:1/v1" in printed
    assert "  export OPENAI_API_KEY=local" in printed
    assert "  http://127.0.0.1:1/traces/chatcmpl-01JD" in printed
    assert printed[-1] == "Serving until Ctrl-C."


def test_a_port_in_use_is_one_line_and_exit_3(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = verivote("demo", "--port", port, "--data", str(tmp_path))

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"verivote: cannot listen on 127.0.0.1:{port}: the port is in use; try --port 0\n"
    )


def test_a_data_folder_that_cannot_be_written_is_one_line_and_exit_3(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = verivote("demo", "--port", "0", "--data", str(blocked))

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"verivote: {blocked} cannot be written (")
    assert "--data DIR" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"VERIVOTE__SERVER__KEYS": "required"}, "the demo asks without a key"),
        ({"VERIVOTE__SERVER__HOST": "0.0.0.0"}, 'set server.keys = "required"'),
    ],
    ids=["keys", "host"],
)
def test_settings_under_which_it_cannot_ask_are_exit_2(tmp_path, variables, message):
    done = verivote("demo", "--data", str(tmp_path), **variables)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def _shown(replies: tuple[Reply, ...], *, stay: bool) -> Show:
    """A show that has printed these replies, on a console of 40 columns."""
    show = Show(make_tasks(1), stay=stay, out=Console(file=io.StringIO(), width=40))
    line: Mapping[str, Any] = {"family": "arithmetic", "method": "single sample", "seconds": 1.0}
    show.print_results("http://127.0.0.1:1", [summarise(replies=replies, **line)], replies)
    return show
