"""Samples → scored samples: what is checked of a task, and by whom, while samples arrive.

Nothing is decided here: votes and stopping are `app/voting`, verdicts are `verifiers/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace

from app.engines.base import Drawing
from app.group import Span
from app.plan import Plan, VerifierRef
from app.routing.routes import MatchedRoute
from app.sample import Sample, Scored
from app.task import Task
from verifiers.base import Answer, Candidate, Check, VerifierSpec, detect_specs
from verifiers.code_blocks import find_program
from verifiers.extract import extract_answer, unfence_json
from verifiers.run import Panel, Runner


def check_of(task: Task) -> Check:
    """What the verifiers are shown of a task."""
    return Check(
        prompt=task.prompt(),
        system=task.system(),
        tools=task.tools,
        tool_choice=task.tool_choice,
        parallel_tool_calls=task.parallel_tool_calls is not False,
        response_format=task.response_format,
    )


def wanted_specs(
    task: Task, check: Check, *, of_route: Sequence[VerifierSpec] = ()
) -> tuple[VerifierSpec, ...]:
    """What was asked for, then what the request itself calls for and nobody configured."""
    if task.options.mode == "off":
        return ()
    asked = task.options.verifiers
    named = {spec.use for spec in (*asked, *of_route)}
    return asked + tuple(spec for spec in detect_specs(check) if spec.use not in named)


def route_specs(task: Task, route: MatchedRoute | None) -> tuple[VerifierSpec, ...]:
    """What the route adds to what was asked for; the same verifier does not look twice."""
    if route is None or task.options.mode == "off":
        return ()
    asked = [(spec.use, spec.options) for spec in task.options.verifiers]
    return tuple(spec for spec in route.verifiers if (spec.use, spec.options) not in asked)


def refs_of(panel: Panel) -> tuple[VerifierRef, ...]:
    """The prepared verifiers as the reply, the cache key and the trace name them."""
    return tuple(
        VerifierRef(
            name=member.verifier.name,
            version=member.verifier.version,
            config_hash=member.config_hash,
            role=member.verifier.role,
            decisive=member.prepared.decisive,
            source=member.spec.source,
            hidden=member.hidden,
        )
        for member in panel.members
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Extracts the answer of a sample once and asks the task's verifiers about it."""

    task: Task
    plan: Plan
    panel: Panel
    runner: Runner
    now_ms: Callable[[], float]
    """Milliseconds since the request's arrival."""

    @property
    def takes_time(self) -> bool:
        """Whether there is more to do for a sample than to read it."""
        return bool(self.panel.members) or self.plan.rule == "two_kinds"

    async def score(self, sample: Sample) -> tuple[Scored, tuple[Span, ...]]:
        """Extract the answer and ask the verifiers. A sample that never ended is not judged."""
        if sample.finish_reason is None:
            return unjudged(sample), ()
        if sample.kind == "program":
            return await self._score_program(sample)
        if self.task.response_format is not None:
            sample = _without_fence(sample)
        return await self._judge(sample)

    async def _score_program(self, sample: Sample) -> tuple[Scored, tuple[Span, ...]]:
        """Run what was written: its output is the sample's text, and votes like any other."""
        found = find_program(sample.text)
        if found is None or sample.finish_reason == "length":
            fault = "truncated" if sample.finish_reason == "length" else "no_program"
            return _null(_not_run(sample), fault), ()
        start_ms = self.now_ms()
        run = await self.runner.run_program(found.source)
        took = Span(
            name="run_program",
            start_ms=start_ms,
            end_ms=start_ms + run.wait_ms + run.run_ms,
            sample=sample.index,
            wait_ms=run.wait_ms,
        )
        if run.fault:
            return _null(_printed(sample, ""), run.fault), (took,)
        scored, spans = await self._judge(_printed(sample, run.output))
        return scored, (took, *spans)

    async def _judge(self, sample: Sample) -> tuple[Scored, tuple[Span, ...]]:
        contract = self.plan.contract
        candidate = Candidate(
            text=sample.text, tool_calls=sample.tool_calls, finish_reason=sample.finish_reason
        )
        if not self.panel.members:
            return Scored(sample=sample, answer=extract_answer(candidate, contract)), ()
        start_ms = self.now_ms()
        judged = await self.runner.judge(self.panel, contract, candidate)
        spans = tuple(
            Span(
                name=f"verify:{verdict.verifier}",
                start_ms=start_ms,
                end_ms=start_ms + verdict.wait_ms + verdict.run_ms,
                sample=sample.index,
                wait_ms=verdict.wait_ms,
            )
            for verdict in judged.verdicts
        )
        scored = Scored(
            sample=sample, answer=judged.answer, verdicts=judged.verdicts, reward=judged.reward
        )
        return scored, spans


async def score_as_they_arrive(
    drawing: Drawing, ended: list[Sample], scorer: Scorer
) -> AsyncGenerator[tuple[Scored, tuple[Span, ...]], None]:
    """Each sample with its verdicts, as soon as both are there, in that order of arrival.

    A slow verifier holds back its own sample only. `ended` collects every sample that arrived,
    also those that nobody waited to see judged. Raises what the drawing raises, after the rest.
    """
    if not scorer.takes_time:
        async for sample in drawing:
            ended.append(sample)
            yield await scorer.score(sample)
        return
    ready: asyncio.Queue[tuple[Scored, tuple[Span, ...]] | None] = asyncio.Queue()
    judging: set[asyncio.Task[None]] = set()

    async def judge(sample: Sample) -> None:
        ready.put_nowait(await scorer.score(sample))

    async def pump() -> None:
        try:
            async for sample in drawing:
                ended.append(sample)
                judging.add(asyncio.create_task(judge(sample)))
        finally:
            if judging:
                await asyncio.gather(*judging)
            ready.put_nowait(None)

    pumping = asyncio.create_task(pump())
    try:
        while (item := await ready.get()) is not None:
            yield item
        await pumping
    finally:
        tasks = (pumping, *judging)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def unjudged(sample: Sample) -> Scored:
    """A sample that nobody judged: it cost tokens and has no vote."""
    reason = "cancelled" if sample.cancelled else "not_needed"
    if sample.finish_reason is None and not sample.cancelled:
        reason = "unfinished"
    return _null(_not_run(sample), reason)


def _null(sample: Sample, reason: str) -> Scored:
    """It cost tokens, and is no answer."""
    return Scored(sample=sample, answer=Answer(kind="none", rule=None, reason=reason))


def _not_run(sample: Sample) -> Sample:
    """What was written as a program is no text to be shown to anybody but in the trace."""
    if sample.kind == "text" or sample.raw_text is not None:
        return sample
    return replace(
        sample,
        text="",
        raw_text=sample.text,
        logprobs_wire=None,
        altered=(*sample.altered, "program_not_run"),
    )


def _printed(sample: Sample, output: str) -> Sample:
    return replace(
        sample,
        text=output,
        raw_text=sample.text,
        logprobs_wire=None,  # of the program's tokens; the client would take them for the text's
        altered=(*sample.altered, "program_run"),
    )


def _without_fence(sample: Sample) -> Sample:
    """A lone code fence around JSON is taken off: what is verified is what is served."""
    bare = unfence_json(sample.text)
    if bare is None:
        return sample
    return replace(
        sample,
        text=bare,
        raw_text=sample.text,
        altered=(*sample.altered, "code_fence_removed"),
        trainable=False,
        not_trainable="altered",
    )
