"""One verdict: one member on one candidate, under its deadline and in its isolation.

Whatever goes wrong is the verdict `error`. Built-in bounded work runs here, one candidate at a
time; a verifier that asks a model waits here; everything else is done by a worker, and code of a
model in the sandbox.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import cast

from verifiers.base import (
    Answer,
    Ask,
    Candidate,
    Finding,
    RemoteVerifier,
    Shortcut,
    Status,
    Verdict,
)
from verifiers.findings import BadFinding, from_wire, to_wire
from verifiers.isolation import runs_remote
from verifiers.panel import Member
from verifiers.sandbox.engine import Engine, SandboxTimeout, SandboxUnavailable
from verifiers.workers import Job, Reply, WorkerPool

MAX_CANDIDATE_CHARS = 1_000_000
"""Text and tool arguments of a candidate; more is not judged."""
LONG_CHARS = 10_000
"""A text over which the event loop turns before the next one is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What verdicts are made with."""

    pool: WorkerPool
    sandbox: Engine
    turn: asyncio.Lock
    """Held while a text is read on the event loop, so that the loop turns between long ones."""
    deadline_ms: float
    """Of work in a worker, and once more of work in the sandbox."""
    ask: Ask | None
    ask_deadline_ms: float

    async def verdict(self, member: Member, candidate: Candidate, answer: Answer) -> Verdict:
        """Never raises for what a verifier or a model did."""
        if member.fault:
            return stamp(member, error(f"prepare_{member.fault}"))
        if is_too_large(candidate):
            return stamp(member, error("candidate_too_large"))
        if runs_remote(member.verifier):
            return await self._consult(member, candidate, answer)
        if member.job is None:
            return await self._judge_here(member, candidate, answer)
        started = time.perf_counter()
        short = _judge_short(member, candidate, answer)
        if short is not None:
            return stamp(member, short, run_ms=_since(started))
        job = Job(spec=member.job, candidate=candidate, answer=answer)
        reply = await self.pool.run(job, self.deadline_ms)
        if "sandbox" in reply.body:
            reply = await self._run_in_sandbox(member, job, reply)
        return stamp(member, _read_reply(reply), wait_ms=reply.wait_ms, run_ms=reply.run_ms)

    async def _judge_here(self, member: Member, candidate: Candidate, answer: Answer) -> Verdict:
        async with self.turn:
            started = time.perf_counter()
            finding = _verify(member, candidate, answer)
            took_ms = _since(started)
            if len(candidate.text) > LONG_CHARS:
                await asyncio.sleep(0)
        return stamp(member, finding, run_ms=took_ms)

    async def _consult(self, member: Member, candidate: Candidate, answer: Answer) -> Verdict:
        """Let a verifier judge that asks a model."""
        started = time.perf_counter()
        verifier = cast(RemoteVerifier, member.verifier)
        try:
            async with asyncio.timeout(self.ask_deadline_ms / 1000):
                found = await verifier.consult(member.prepared, candidate, answer, self.ask)
            finding = from_wire(to_wire(found))
        except TimeoutError:
            finding = error("timeout")
        except BadFinding as refused:
            finding = error(refused.reason)
        except Exception as raised:
            finding = error("raised", error=type(raised).__name__)
        return stamp(member, finding, run_ms=_since(started))

    async def _run_in_sandbox(self, member: Member, job: Job, asked: Reply) -> Reply:
        """Run what the verifier asked for, and let it conclude; only a sandboxed one may ask."""
        if member.verifier.isolation != "sandbox":
            return replace(asked, body={"fault": "not_a_finding"})
        try:
            report = await self.sandbox.run(asked.body["sandbox"], self.deadline_ms)
        except SandboxUnavailable as missing:
            fault = {"fault": "sandbox_unavailable", "error": str(missing)[:200]}
            return replace(asked, body=fault)
        except SandboxTimeout:
            return replace(asked, fault="timeout", run_ms=self.deadline_ms)
        except Exception as raised:  # a job that a plug-in made up
            return replace(asked, body={"fault": "bad_job", "error": type(raised).__name__})
        reply = await self.pool.run(replace(job, report=report.body), self.deadline_ms)
        return replace(
            reply,
            wait_ms=asked.wait_ms + report.wait_ms + reply.wait_ms,
            run_ms=asked.run_ms + report.run_ms + reply.run_ms,
        )


def is_too_large(candidate: Candidate) -> bool:
    size = len(candidate.text) + sum(len(call.arguments) for call in candidate.tool_calls)
    return size > MAX_CANDIDATE_CHARS


def error(reason: str, **evidence: str) -> Finding:
    """What could not be checked, and why."""
    return Finding(status=Status.ERROR, reason=reason, evidence=evidence)


def stamp(
    member: Member, finding: Finding, *, wait_ms: float = 0.0, run_ms: float = 0.0
) -> Verdict:
    """The finding as the verdict of this member."""
    return Verdict(
        verifier=member.verifier.name,
        version=member.verifier.version,
        config_hash=member.config_hash,
        role=member.verifier.role,
        decisive=member.prepared.decisive,
        status=finding.status,
        score=finding.score,
        reason=finding.reason,
        evidence=finding.evidence,
        steps=finding.steps,
        step_ends=finding.step_ends,
        hidden=member.hidden,
        wait_ms=wait_ms,
        run_ms=run_ms,
    )


def _verify(member: Member, candidate: Candidate, answer: Answer) -> Finding:
    try:
        found = member.verifier.verify(member.prepared, candidate, answer)
        return from_wire(to_wire(found))
    except BadFinding as refused:
        return error(refused.reason)
    except Exception as raised:
        return error("raised", error=type(raised).__name__)


def _judge_short(member: Member, candidate: Candidate, answer: Answer) -> Finding | None:
    """The finding of a verifier that can tell without a worker, else None."""
    if not isinstance(member.verifier, Shortcut) or member.prepared.payload is None:
        return None
    try:
        found = member.verifier.verify_inline(member.prepared, candidate, answer)
        return None if found is None else from_wire(to_wire(found))
    except Exception as raised:
        return error("raised", error=type(raised).__name__)


def _read_reply(reply: Reply) -> Finding:
    """The finding of a worker; whatever else it sent is an error."""
    if reply.fault:
        return error(reply.fault)
    body = reply.body
    if "bad" in body:
        return error("not_prepared", error=str(body["bad"])[:200])
    if "fault" in body:
        return error(str(body["fault"]), error=str(body.get("error", "")))
    try:
        return from_wire(body.get("finding", {}))
    except BadFinding as refused:
        return error(refused.reason)


def _since(started: float) -> float:
    """Milliseconds."""
    return (time.perf_counter() - started) * 1000
