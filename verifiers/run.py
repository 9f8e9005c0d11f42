"""The runner: what the gateway asks. It prepares panels and lets them judge candidates.

A verifier is asked; what it does wrong becomes the verdict `error`, never a pass and never an
exception. Preparing is in `preparing.py`, one verdict with its deadline and isolation in
`judging.py`, score range and status rules in `findings.py`. Verdicts become a decision elsewhere
(app/voting); the runner only reports them.
"""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from verifiers.base import (
    Answer,
    AnswerContract,
    Ask,
    Candidate,
    Check,
    Status,
    Verdict,
    VerifierSpec,
)
from verifiers.canaries import CanaryWatch, OnCanary, Watched
from verifiers.compose import compose_reward
from verifiers.extract import extract_answer
from verifiers.judging import LONG_CHARS, Judging, error, is_too_large, stamp
from verifiers.panel import Judged, Member, Panel
from verifiers.plugins import load_plugin
from verifiers.preparing import Preparing
from verifiers.programs import ProgramRun, Programs
from verifiers.sandbox.backends import make_engine, needs_trial
from verifiers.sandbox.engine import Engine
from verifiers.specs import check_spec
from verifiers.workers import WorkerPool

__all__ = ["Judged", "Member", "Panel", "Runner", "check_spec"]


class Runner:
    """Runs verifiers. One instance serves all requests of an event loop."""

    def __init__(
        self,
        *,
        deadline_ms: float = 5_000,
        workers: int = 2,
        plugins: Sequence[str] = (),
        sandbox: str | Engine = "on",
        ask: Ask | None = None,
        ask_deadline_ms: float = 30_000,
        min_covered: float = 0.0,
        canary_rate: float = 0.0,
        rng: random.Random | None = None,
        on_canary: OnCanary | None = None,
    ) -> None:
        """`plugins` bring verifiers of others (verifiers/plugins.py), which judge in workers only.
        Raises `BadPlugin` for one that cannot be loaded.

        `sandbox` is a back end or its name (verifiers/sandbox/backends.py); `unsafe` runs code of
        models with all rights of this process, and says so loudly.
        `ask` reaches the model of the judges, within `ask_deadline_ms` a verdict. `min_covered` is
        the share of the weight that a reward needs. `canary_rate` is how often, in 0..1, a verdict
        is accompanied by that of a known-bad answer.
        """
        self._min_covered = min_covered
        self._watch = CanaryWatch(rate=canary_rate, rng=rng or random.Random(), on_canary=on_canary)
        self._pool = WorkerPool(size=workers, plugins=plugins)
        self._sandbox = make_engine(sandbox, size=workers) if isinstance(sandbox, str) else sandbox
        self._needs_trial = isinstance(sandbox, str) and needs_trial(sandbox)
        self._programs = Programs(self._sandbox, deadline_ms=deadline_ms)
        self._turn = asyncio.Lock()
        self._preparing = Preparing(self._pool, deadline_ms)
        self._judging = Judging(
            pool=self._pool,
            sandbox=self._sandbox,
            turn=self._turn,
            deadline_ms=deadline_ms,
            ask=ask,
            ask_deadline_ms=ask_deadline_ms,
        )
        importlib.import_module("verifiers")
        for plugin in plugins:
            load_plugin(plugin)

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the living workers; empty until one was needed."""
        return self._pool.pids

    @property
    def out_of_use(self) -> Mapping[str, Watched]:
        """The verifiers that passed a canary, each with the interval that is in doubt."""
        return self._watch.out()

    @property
    def sandbox_fault(self) -> str:
        """Why code cannot be run, as far as it was tried; empty when it can."""
        return self._sandbox.fault

    @property
    def sandbox_pids(self) -> tuple[int, ...]:
        """Process ids of what runs, or waits, in the sandbox; empty until code was judged."""
        return self._sandbox.pids

    async def start(self) -> None:
        """Nothing is started before it is needed, so an idle gateway has no workers. But a sandbox
        that needs more than the kernel is tried now, so that the log says at once what is missing.
        """
        if self._needs_trial:
            await self._programs.why_none()

    async def close(self) -> None:
        """Kill the workers, and what runs in the sandbox."""
        await self._pool.close()
        await self._sandbox.close()

    async def prepare(self, specs: Sequence[VerifierSpec], check: Check) -> Panel:
        """Make the verifiers ready. Raises `BadCheck` with the full path in `param`."""
        return Panel(members=tuple([await self._preparing.member(spec, check) for spec in specs]))

    async def prepare_drawn(self, specs: Sequence[VerifierSpec], check: Check) -> Panel:
        """The same for verifiers that the operator chose: one that does not fit the request is a
        member whose verdicts are errors, because the client can do nothing about it."""
        members = [await self._preparing.member_anyway(spec, check) for spec in specs]
        return Panel(members=tuple(members))

    async def run_program(self, source: str) -> ProgramRun:
        """Run a program of a model in the sandbox. Never raises for what it does."""
        return await self._programs.run(source)

    async def why_no_programs(self) -> str:
        """Why no program can be run here; empty when one can."""
        return await self._programs.why_none()

    async def judge(self, panel: Panel, contract: AnswerContract, candidate: Candidate) -> Judged:
        """Extract the answer and let every member judge. Never raises for what a model wrote.

        A candidate that never ended (`finish_reason` None) is not judged; one that was cut by the
        token limit is.
        """
        async with self._turn:  # so that the loop turns between long texts that arrive together
            answers = {contract: _extract(candidate, contract)}
            if candidate.finish_reason is None:
                return Judged(answer=answers[contract])
            for member in panel.members:
                if member.contract not in answers:
                    answers[member.contract] = _extract(candidate, member.contract)
            if len(candidate.text) > LONG_CHARS:
                await asyncio.sleep(0)  # holding the turn, so that the next one waits for the loop
        verdicts = await asyncio.gather(
            *(
                self._watched(member, candidate, answers[member.contract])
                for member in panel.members
            )
        )
        weights = [member.weight for member in panel.members]
        reward = compose_reward(verdicts, weights, min_covered=self._min_covered)
        answer = _by_behaviour(answers[contract], panel, verdicts)
        return Judged(answer=answer, verdicts=tuple(verdicts), reward=reward)

    async def _watched(self, member: Member, candidate: Candidate, answer: Answer) -> Verdict:
        """The verdict, beside that of a canary when it is time for one."""
        key, name = member.watch_key, member.verifier.name
        if not member.canaries or member.fault:
            return await self._judging.verdict(member, candidate, answer)
        if not self._watch.is_out(key) and self._watch.is_due():
            canary = member.canaries[self._watch.pick(len(member.canaries))]
            verdict, known = await asyncio.gather(
                self._judging.verdict(member, candidate, answer),
                self._judging.verdict(member, canary, extract_answer(canary, member.contract)),
            )
            if known.status is Status.PASS:
                self._watch.passed(key, name)
            elif known.status is Status.FAIL:
                self._watch.caught(key, name)
        elif not self._watch.is_out(key):
            verdict = await self._judging.verdict(member, candidate, answer)
        if self._watch.is_out(key):
            return stamp(member, error("canary_passed"))
        self._watch.count(key)
        return verdict


def _extract(candidate: Candidate, contract: AnswerContract) -> Answer:
    """The answer; nothing is looked for in a text that is not judged either."""
    if is_too_large(candidate):
        return Answer(kind=contract.kind, rule=None, reason="too_long")
    return extract_answer(candidate, contract)


def _by_behaviour(answer: Answer, panel: Panel, verdicts: Sequence[Verdict]) -> Answer:
    """A program's vote key is what it did in the sandbox, where it ran, else its text."""
    if answer.kind != "code" or answer.key is None:
        return answer
    for member, verdict in zip(panel.members, verdicts, strict=True):
        did = verdict.evidence.get("behaviour")
        if member.verifier.isolation == "sandbox" and isinstance(did, str) and did:
            return replace(answer, key=f"behaviour:{did[:64]}")
    return answer
