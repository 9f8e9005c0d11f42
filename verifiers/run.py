"""The runner: the only place that enforces deadline, isolation, score range and status rules.

A verifier is asked; what it does wrong becomes the verdict `error`, never a pass and never an
exception. Work that is not built in, or not declared as bounded, runs in a killable worker: also
its preparation, because schemas and references come from the client. Verdicts become a decision
elsewhere (app/voting); the runner only reports them.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import importlib
import json
import logging
import math
import pickle
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from verifiers.base import (
    Answer,
    AnswerContract,
    Ask,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Prepared,
    RemoteVerifier,
    Shortcut,
    Status,
    ToolCall,
    Verdict,
    Verifier,
    VerifierSpec,
    Watchable,
    get_verifier,
)
from verifiers.canaries import CanaryWatch, OnCanary, Watched
from verifiers.compose import compose_reward
from verifiers.extract import extract_answer
from verifiers.findings import BadFinding, from_wire, to_wire
from verifiers.plugins import load_plugin
from verifiers.sandbox.engine import (
    Engine,
    LandlockEngine,
    Mode,
    SandboxTimeout,
    SandboxUnavailable,
)
from verifiers.workers import Job, Reply, WorkerPool

log = logging.getLogger("verifiers")

MAX_CANDIDATE_CHARS = 1_000_000
"""Text and tool arguments of a candidate; more is not judged."""
LONG_CHARS = 10_000
"""A text over which the event loop turns before the next one is read."""
WEIGHT = "weight"
"""The option that every verifier knows: its share of the reward among graded verifiers."""
HIDDEN = "hidden"
"""The option that every verifier knows: the reply counts it and does not name it."""
MAX_CANARIES = 8

_NO_CONTRACT = AnswerContract()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One verifier, ready to judge the candidates of a task."""

    verifier: Verifier
    prepared: Prepared
    spec: VerifierSpec
    config_hash: str
    """First 12 hex digits of sha256 over the canonical JSON of the options."""
    weight: float = 1.0
    job: bytes | None = None
    """Pickled (name, options, check) for a worker; None when it runs inline."""
    fault: str = ""
    """Why it could not be prepared, through no fault of the client; its verdicts are `error`."""
    hidden: bool = False
    """True when the client may not learn which verifier this is."""
    canaries: tuple[Candidate, ...] = ()
    """Candidates that must not pass."""

    @property
    def watch_key(self) -> str:
        """What a passed canary puts out of use: the verifier, or a judge with this rubric."""
        own = f"/{self.config_hash}" if self.verifier.role == "judge" else ""
        return f"{self.verifier.name}/{self.verifier.version}{own}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """All verifiers of a task."""

    members: tuple[Member, ...] = ()

    def joined(self, other: Panel) -> Panel:
        """Both together, in this order."""
        return Panel(members=(*self.members, *other.members))

    @property
    def contract(self) -> AnswerContract | None:
        """What to vote on: by a decisive member, else an outcome member, else any; or None."""
        with_one = [member for member in self.members if member.prepared.contract is not None]
        with_one.sort(key=lambda m: (not m.prepared.decisive, m.verifier.role != "outcome"))
        return with_one[0].prepared.contract if with_one else None

    @property
    def decisive(self) -> bool:
        """True when a pass of one member would be proof."""
        return any(member.prepared.decisive for member in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found out about one candidate."""

    answer: Answer
    """By the vote contract."""
    verdicts: tuple[Verdict, ...] = ()
    """In the order of the panel."""
    reward: float | None = None


class Runner:
    """Runs verifiers. One instance serves all requests of an event loop."""

    def __init__(
        self,
        *,
        deadline_ms: float = 5_000,
        workers: int = 2,
        plugins: Sequence[str] = (),
        sandbox: Mode = "on",
        ask: Ask | None = None,
        ask_deadline_ms: float = 30_000,
        min_covered: float = 0.0,
        canary_rate: float = 0.0,
        rng: random.Random | None = None,
        on_canary: OnCanary | None = None,
    ) -> None:
        """`plugins` bring verifiers of others (verifiers/plugins.py), which judge in workers only.
        Raises `BadPlugin` for one that cannot be loaded.

        `sandbox="unsafe"` runs code of models with all rights of this process, and says so loudly.
        `ask` reaches the model of the judges, within `ask_deadline_ms` a verdict. `min_covered` is
        the share of the weight that a reward needs. `canary_rate` is how often, in 0..1, a verdict
        is accompanied by that of a known-bad answer.
        """
        self._ask = ask
        self._ask_deadline_ms = ask_deadline_ms
        self._min_covered = min_covered
        self._watch = CanaryWatch(rate=canary_rate, rng=rng or random.Random(), on_canary=on_canary)
        self._deadline_ms = deadline_ms
        self._pool = WorkerPool(size=workers, plugins=plugins)
        self._turn = asyncio.Lock()
        self._sandbox: Engine = LandlockEngine(size=workers, mode=sandbox)
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
    def sandbox_pids(self) -> tuple[int, ...]:
        """Process ids of what runs, or waits, in the sandbox; empty until code was judged."""
        return self._sandbox.pids

    async def start(self) -> None:
        """Nothing is started before it is needed: an idle gateway has no workers."""

    async def close(self) -> None:
        """Kill the workers, and what runs in the sandbox."""
        await self._pool.close()
        await self._sandbox.close()

    async def prepare(self, specs: Sequence[VerifierSpec], check: Check) -> Panel:
        """Make the verifiers ready. Raises `BadCheck` with the full path in `param`."""
        return Panel(members=tuple([await self._prepare(spec, check) for spec in specs]))

    async def prepare_drawn(self, specs: Sequence[VerifierSpec], check: Check) -> Panel:
        """The same for verifiers that the operator chose: one that does not fit the request is a
        member whose verdicts are errors, because the client can do nothing about it."""
        return Panel(members=tuple([await self._prepare_anyway(spec, check) for spec in specs]))

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
                own = member.prepared.contract or _NO_CONTRACT
                if own not in answers:
                    answers[own] = _extract(candidate, own)
            if len(candidate.text) > LONG_CHARS:
                await asyncio.sleep(0)  # holding the turn, so that the next one waits for the loop
        verdicts = await asyncio.gather(
            *(
                self._watched(m, candidate, answers[m.prepared.contract or _NO_CONTRACT])
                for m in panel.members
            )
        )
        weights = [member.weight for member in panel.members]
        reward = compose_reward(verdicts, weights, min_covered=self._min_covered)
        answer = _by_behaviour(answers[contract], panel, verdicts)
        return Judged(answer=answer, verdicts=tuple(verdicts), reward=reward)

    async def _prepare(self, spec: VerifierSpec, check: Check) -> Member:
        try:
            verifier = get_verifier(spec.use)
            options = dict(spec.options)
            weight, hidden = _read_weight(options), _read_hidden(options)
            _refuse_unknown(options, verifier)
            config_hash = _hash(spec.options)
            if _runs_inline(verifier):
                ready = _prepare_inline(verifier, options, check)
            elif _runs_remote(verifier):
                ready = await asyncio.to_thread(_prepare_inline, verifier, options, check)
            elif (short := _prepare_short(verifier, options, check)) is not None:
                ready = short
                self._pool.preload(getattr(verifier, "preload", ()))
            else:
                ready = await self._prepare_in_worker(verifier, options, check)
        except BadCheck as bad:
            raise _with_path(bad, spec) from None
        if ready.fault:
            log.warning("verifier '%s' could not be prepared: %s", spec.use, ready.fault)
        return Member(
            verifier=verifier,
            prepared=ready.prepared,
            spec=spec,
            config_hash=config_hash,
            weight=weight,
            job=ready.job,
            fault=ready.fault,
            hidden=hidden,
            canaries=ready.canaries,
        )

    async def _prepare_anyway(self, spec: VerifierSpec, check: Check) -> Member:
        try:
            return await self._prepare(spec, check)
        except BadCheck as bad:
            log.warning("verifier '%s' of %s does not fit: %s", spec.use, spec.param, bad.message)
            return Member(
                verifier=get_verifier(spec.use),
                prepared=Prepared(payload=None),
                spec=spec,
                config_hash=_hash(spec.options),
                fault="does_not_fit",
                hidden=spec.options.get(HIDDEN) is True,
            )

    async def _prepare_in_worker(
        self, verifier: Verifier, options: Mapping[str, Any], check: Check
    ) -> _Ready:
        job = _job(verifier, options, check)
        reply = await self._pool.run(Job(spec=job), self._deadline_ms)
        if reply.fault in ("timeout", "died"):
            limit = f"within {self._deadline_ms:g} ms and its memory"
            raise BadCheck(f"verifier '{verifier.name}' could not be prepared {limit}")
        if "bad" in reply.body:
            raise BadCheck(**reply.body["bad"])
        fault = reply.fault or reply.body.get("fault", "")
        if fault:
            return _Ready(Prepared(payload=None), job, fault)
        contract = reply.body["contract"]
        if contract is not None:
            lists = {name: tuple(contract[name]) for name in ("choices", "names")}
            contract = AnswerContract(**{**contract, **lists})
        decisive = verifier.role == "outcome" and reply.body["decisive"]
        prepared = Prepared(payload=None, contract=contract, decisive=decisive)
        return _Ready(prepared, job, canaries=_read_canaries(reply.body.get("canaries")))

    async def _watched(self, member: Member, candidate: Candidate, answer: Answer) -> Verdict:
        """The verdict, beside that of a canary when it is time for one."""
        key, name = member.watch_key, member.verifier.name
        if not member.canaries or member.fault:
            return await self._verdict(member, candidate, answer)
        if not self._watch.is_out(key) and self._watch.is_due():
            canary = member.canaries[self._watch.pick(len(member.canaries))]
            contract = member.prepared.contract or _NO_CONTRACT
            verdict, known = await asyncio.gather(
                self._verdict(member, candidate, answer),
                self._verdict(member, canary, extract_answer(canary, contract)),
            )
            if known.status is Status.PASS:
                self._watch.passed(key, name)
            elif known.status is Status.FAIL:
                self._watch.caught(key, name)
        elif not self._watch.is_out(key):
            verdict = await self._verdict(member, candidate, answer)
        if self._watch.is_out(key):
            return _stamp(member, _error("canary_passed"))
        self._watch.count(key)
        return verdict

    async def _verdict(self, member: Member, candidate: Candidate, answer: Answer) -> Verdict:
        if member.fault:
            return _stamp(member, _error(f"prepare_{member.fault}"))
        if _is_too_large(candidate):
            return _stamp(member, _error("candidate_too_large"))
        if _runs_remote(member.verifier):
            return await self._consult(member, candidate, answer)
        if member.job is None:
            async with self._turn:
                started = time.perf_counter()
                finding = _verify_inline(member, candidate, answer)
                took_ms = (time.perf_counter() - started) * 1000
                if len(candidate.text) > LONG_CHARS:
                    await asyncio.sleep(0)
            return _stamp(member, finding, run_ms=took_ms)
        started = time.perf_counter()
        short = _verify_short(member, candidate, answer)
        if short is not None:
            return _stamp(member, short, run_ms=(time.perf_counter() - started) * 1000)
        job = Job(spec=member.job, candidate=candidate, answer=answer)
        reply = await self._pool.run(job, self._deadline_ms)
        if "sandbox" in reply.body:
            reply = await self._run_in_sandbox(member, job, reply)
        return _stamp(member, _read_reply(reply), wait_ms=reply.wait_ms, run_ms=reply.run_ms)

    async def _consult(self, member: Member, candidate: Candidate, answer: Answer) -> Verdict:
        """Let a verifier judge that asks a model."""
        started = time.perf_counter()
        verifier = cast(RemoteVerifier, member.verifier)
        try:
            async with asyncio.timeout(self._ask_deadline_ms / 1000):
                found = await verifier.consult(member.prepared, candidate, answer, self._ask)
            finding = from_wire(to_wire(found))
        except TimeoutError:
            finding = _error("timeout")
        except BadFinding as refused:
            finding = _error(refused.reason)
        except Exception as raised:
            finding = _error("raised", error=type(raised).__name__)
        return _stamp(member, finding, run_ms=(time.perf_counter() - started) * 1000)

    async def _run_in_sandbox(self, member: Member, job: Job, asked: Reply) -> Reply:
        """Run what the verifier asked for, and let it conclude; only a sandboxed one may ask."""
        if member.verifier.isolation != "sandbox":
            return replace(asked, body={"fault": "not_a_finding"})
        try:
            report = await self._sandbox.run(asked.body["sandbox"], self._deadline_ms)
        except SandboxUnavailable as missing:
            fault = {"fault": "sandbox_unavailable", "error": str(missing)[:200]}
            return replace(asked, body=fault)
        except SandboxTimeout:
            return replace(asked, fault="timeout", run_ms=self._deadline_ms)
        except Exception as raised:  # a job that a plug-in made up
            return replace(asked, body={"fault": "bad_job", "error": type(raised).__name__})
        reply = await self._pool.run(replace(job, report=report.body), self._deadline_ms)
        return replace(
            reply,
            wait_ms=asked.wait_ms + report.wait_ms + reply.wait_ms,
            run_ms=asked.run_ms + report.run_ms + reply.run_ms,
        )


@dataclass(frozen=True, slots=True)
class _Ready:
    prepared: Prepared
    job: bytes | None = None
    fault: str = ""
    canaries: tuple[Candidate, ...] = ()


def _is_too_large(candidate: Candidate) -> bool:
    size = len(candidate.text) + sum(len(call.arguments) for call in candidate.tool_calls)
    return size > MAX_CANDIDATE_CHARS


def _extract(candidate: Candidate, contract: AnswerContract) -> Answer:
    """The answer; nothing is looked for in a text that is not judged either."""
    if _is_too_large(candidate):
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


def _runs_inline(verifier: Verifier) -> bool:
    """Only built-in code that says so may run on the event loop."""
    return _is_built_in(verifier) and verifier.isolation == "inline"


def _runs_remote(verifier: Verifier) -> bool:
    """Only built-in code may wait for a model on the event loop."""
    return _is_built_in(verifier) and verifier.isolation == "remote"


def _is_built_in(verifier: Verifier) -> bool:
    return type(verifier).__module__.startswith("verifiers.")


def _prepare_short(verifier: Verifier, options: Mapping[str, Any], check: Check) -> _Ready | None:
    """Prepared here, with its job beside it for what only a worker may do."""
    if not isinstance(verifier, Shortcut) or not _is_built_in(verifier):
        return None
    prepared = verifier.prepare_inline(options, check)
    if prepared is None:
        return None
    job = _job(verifier, options, check)
    return _Ready(prepared, job, canaries=_canaries_of(verifier, prepared))


def _verify_short(member: Member, candidate: Candidate, answer: Answer) -> Finding | None:
    """The finding of a verifier that can tell without a worker, else None."""
    if not isinstance(member.verifier, Shortcut) or member.prepared.payload is None:
        return None
    try:
        found = member.verifier.verify_inline(member.prepared, candidate, answer)
        return None if found is None else from_wire(to_wire(found))
    except Exception as raised:
        return _error("raised", error=type(raised).__name__)


def _job(verifier: Verifier, options: Mapping[str, Any], check: Check) -> bytes:
    try:
        return pickle.dumps((verifier.name, options, check))
    except RecursionError:
        raise BadCheck("nested too deeply") from None


def _prepare_inline(verifier: Verifier, options: Mapping[str, Any], check: Check) -> _Ready:
    try:
        prepared = verifier.prepare(options, check)
        return _Ready(prepared, canaries=_canaries_of(verifier, prepared))
    except BadCheck:
        raise
    except Exception as raised:
        return _Ready(Prepared(payload=None), fault=f"raised {type(raised).__name__}")


def _canaries_of(verifier: Verifier, prepared: Prepared) -> tuple[Candidate, ...]:
    if not isinstance(verifier, Watchable):
        return ()
    return tuple(verifier.canaries(prepared))[:MAX_CANARIES]


def _read_canaries(sent: object) -> tuple[Candidate, ...]:
    """The canaries of a worker's reply; what is none is left out."""
    found = []
    for each in sent if isinstance(sent, list) else ():
        try:
            calls = tuple(ToolCall(**call) for call in each["tool_calls"])
            found.append(Candidate(text=str(each["text"]), tool_calls=calls))
        except (TypeError, KeyError):
            log.warning("a worker sent a canary that is no candidate")
    return tuple(found[:MAX_CANARIES])


def _verify_inline(member: Member, candidate: Candidate, answer: Answer) -> Finding:
    try:
        found = member.verifier.verify(member.prepared, candidate, answer)
        return from_wire(to_wire(found))
    except BadFinding as refused:
        return _error(refused.reason)
    except Exception as raised:
        return _error("raised", error=type(raised).__name__)


def _read_reply(reply: Reply) -> Finding:
    """The finding of a worker; whatever else it sent is an error."""
    if reply.fault:
        return _error(reply.fault)
    body = reply.body
    if "bad" in body:
        return _error("not_prepared", error=str(body["bad"])[:200])
    if "fault" in body:
        return _error(str(body["fault"]), error=str(body.get("error", "")))
    try:
        return from_wire(body.get("finding", {}))
    except BadFinding as refused:
        return _error(refused.reason)


def _error(reason: str, **evidence: str) -> Finding:
    return Finding(status=Status.ERROR, reason=reason, evidence=evidence)


def _stamp(
    member: Member, finding: Finding, *, wait_ms: float = 0.0, run_ms: float = 0.0
) -> Verdict:
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
        hidden=member.hidden,
        wait_ms=wait_ms,
        run_ms=run_ms,
    )


def _with_path(bad: BadCheck, spec: VerifierSpec) -> BadCheck:
    """The same complaint with its place in the request."""
    if not bad.request:
        bad.param = ".".join(part for part in (spec.param, bad.param) if part)
    return bad


def _refuse_unknown(options: Mapping[str, Any], verifier: Verifier) -> None:
    for option in options:
        if option not in verifier.options:
            known = (*verifier.options, WEIGHT, HIDDEN)
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise BadCheck(
                f"'{option}' is not an option of verifier '{verifier.name}'; "
                f"{hint}known: {', '.join(known)}",
                param=str(option),
            )


def _read_weight(options: dict[str, Any]) -> float:
    """Take the weight out of the options."""
    weight = options.pop(WEIGHT, 1.0)
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 < weight <= 1_000_000 or not math.isfinite(weight):
        raise BadCheck(f"a weight is a number over 0, got {weight!r:.40}", param=WEIGHT)
    return float(weight)


def _read_hidden(options: dict[str, Any]) -> bool:
    """Take out of the options whether the client may know of this verifier."""
    hidden = options.pop(HIDDEN, False)
    if not isinstance(hidden, bool):
        raise BadCheck(f"hidden is true or false, got {hidden!r:.40}", param=HIDDEN)
    return hidden


def check_spec(spec: VerifierSpec) -> None:
    """Whether a spec of the settings can be meant at all. Raises `BadCheck` with the full path.

    Its options are read when a request comes, because they may refer to it.
    """
    try:
        verifier = get_verifier(spec.use)
        options = dict(spec.options)
        _read_weight(options)
        _read_hidden(options)
        _refuse_unknown(options, verifier)
        _hash(spec.options)
    except BadCheck as bad:
        raise _with_path(bad, spec) from None


def _hash(options: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(options, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as unfit:
        raise BadCheck(f"options must be JSON: {str(unfit)[:80]}") from None
    return hashlib.sha256(text.encode()).hexdigest()[:12]
