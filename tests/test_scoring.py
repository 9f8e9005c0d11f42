"""What becomes of a sample before it votes: programs are run, verifiers see what is served."""

from __future__ import annotations

import pytest

from app.routing.routes import MatchedRoute
from app.scoring import Scorer, check_of, route_specs, unjudged, wanted_specs
from app.task import Options, Task
from tests.builders import a_plan, a_sample, a_task
from verifiers.base import VerifierSpec
from verifiers.run import Panel, Runner

PROGRAM = "Here it is:\n```python\nprint(6 * 7)\n```\n"


@pytest.fixture
async def runner():
    runner = Runner()
    yield runner
    await runner.close()


def scorer(runner: Runner, task: Task | None = None, panel: Panel | None = None) -> Scorer:
    return Scorer(
        task=task or a_task(),
        plan=a_plan(),
        panel=panel or Panel(),
        runner=runner,
        now_ms=lambda: 5.0,
    )


async def test_a_program_says_what_it_prints_and_what_was_written_is_kept(runner):
    wire = {"content": [{"token": "x"}]}
    written = a_sample(0, PROGRAM, kind="program", logprobs_wire=wire)
    scored, spans = await scorer(runner).score(written)

    assert (scored.sample.text, scored.sample.raw_text) == ("42", PROGRAM)
    assert (scored.answer.key, scored.sample.altered) == ("42", ("program_run",))
    assert scored.sample.logprobs_wire is None
    assert [(span.name, span.sample) for span in spans] == [("run_program", 0)]


async def test_verifiers_see_what_a_program_printed(runner):
    task = a_task()
    spec = VerifierSpec(use="number", options={"reference": "42"})
    panel = await runner.prepare([spec], check_of(task))
    scored, spans = await scorer(runner, task, panel).score(a_sample(0, PROGRAM, kind="program"))

    assert [verdict.status for verdict in scored.verdicts] == ["pass"]
    assert [span.name for span in spans] == ["run_program", "verify:number"]


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("The answer is 42.", "stop", "no_program"),
        ("```python\nprint(42)\nprint(4", "length", "truncated"),
        ("```python\n1 / 0\n```", "stop", "program_raised: ZeroDivisionError"),
        ("```python\nx = 42\n```", "stop", "no_output"),
    ],
)
async def test_a_program_that_gives_nothing_is_no_answer_and_is_never_shown(
    runner, text, finish_reason, reason
):
    written = a_sample(0, text, kind="program", finish_reason=finish_reason)
    scored, _ = await scorer(runner).score(written)

    assert (scored.answer.key, scored.answer.reason) == (None, reason)
    assert (scored.sample.text, scored.sample.raw_text) == ("", text)
    assert (scored.verdicts, scored.reward) == ((), None)


async def test_a_program_that_was_cut_off_is_not_run(runner):
    cut = a_sample(0, PROGRAM, kind="program", finish_reason=None, cancelled=True)
    scored, spans = await scorer(runner).score(cut)

    assert (scored.answer.reason, spans) == ("cancelled", ())
    assert (scored.sample.text, scored.sample.raw_text) == ("", PROGRAM)
    assert runner.sandbox_pids == ()


def test_a_program_that_nobody_waited_for_is_not_shown_either():
    """It ended, the vote was settled, and nobody ran it: served, it would be raw code."""
    scored = unjudged(a_sample(0, PROGRAM, kind="program"))

    assert scored.answer.reason == "not_needed"
    assert (scored.sample.text, scored.sample.altered) == ("", ("program_not_run",))
    assert unjudged(scored.sample).sample == scored.sample


SUM = "What is 6 * 7?"
"""A prompt to which `calculator` attaches itself."""


def test_a_verifier_that_the_route_names_does_not_attach_itself_again():
    task = a_task(SUM)
    of_route = (VerifierSpec(use="calculator", source="route"),)

    assert [s.use for s in wanted_specs(task, check_of(task))] == ["calculator"]
    assert wanted_specs(task, check_of(task), of_route=of_route) == ()


def test_a_route_adds_its_verifiers_but_not_one_that_was_asked_for_alike():
    asked = VerifierSpec(use="number", options={"reference": "42"})
    same = VerifierSpec(use="number", options={"reference": "42"}, source="route")
    other = VerifierSpec(use="number", options={"reference": "43"}, source="route")
    route = MatchedRoute(name="sums", verifiers=(same, other))

    assert route_specs(a_task(options=Options(verifiers=(asked,))), route) == (other,)
    assert route_specs(a_task(), route) == (same, other)
    assert route_specs(a_task(), None) == ()


def test_a_request_that_wants_no_checking_gets_none_of_the_route_either():
    route = MatchedRoute(name="sums", verifiers=(VerifierSpec(use="steps", source="route"),))

    assert route_specs(a_task(options=Options(mode="off")), route) == ()
