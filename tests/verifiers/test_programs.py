"""A program of a model is run, and what it prints is what it says."""

from __future__ import annotations

import pytest

from verifiers.programs import Programs
from verifiers.run import Runner
from verifiers.sandbox.engine import SandboxUnavailable


@pytest.fixture
async def runner():
    runner = Runner()
    yield runner
    await runner.close()


async def test_the_sandbox_is_tried_before_anybody_counts_on_it(runner):
    assert runner.sandbox_pids == ()
    assert await runner.why_no_programs() == ""


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("print(6 * 7)", "42"),
        ("print('working')\nprint(42)\n", "42"),
        ("answer = 6 * 7", "42"),
        ("if __name__ == '__main__':\n    print('é')", "é"),
    ],
    ids=["printed", "last_line", "named", "main"],
)
async def test_the_last_line_or_what_it_calls_answer_is_the_output(runner, source, output):
    run = await runner.run_program(source)

    assert (run.output, run.fault) == (output, "")
    assert run.run_ms > 0


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("1 / 0", "program_raised: ZeroDivisionError"),
        ("raise ValueError('secret of the prompt')", "program_raised: ValueError"),
        ("class Secret(Exception): pass\nraise Secret", "program_raised: Exception"),
        ("print('!')", "program_raised"),
        ("print(", "program_raised: SyntaxError"),
        ("print(input())", "program_raised: EOFError"),
        ("print('\ud800')", "program_raised: UnicodeError"),
        ("x = 1", "no_output"),
        ("", "no_output"),
        ("#" * 60_000, "too_long"),
    ],
)
async def test_a_program_without_an_output_says_why_and_quotes_nothing(runner, source, fault):
    run = await runner.run_program(source)

    assert (run.output, run.fault) == ("", fault)


async def test_an_endless_program_is_ended(runner):
    run = await runner.run_program("while True: pass")

    assert run.fault in ("time_limit", "timeout")


async def test_a_machine_without_a_sandbox_runs_no_program():
    class Missing:
        pids = ()

        async def run(self, job, deadline_ms):
            raise SandboxUnavailable("no Landlock")

        async def close(self):
            pass

    programs = Programs(Missing(), deadline_ms=1000)

    assert await programs.why_none() == "sandbox_unavailable"
    assert (await programs.run("print(1)")).fault == "sandbox_unavailable"
