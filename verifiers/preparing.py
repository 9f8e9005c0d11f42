"""From specs to members: options, references and schemas are read once a task.

They come from the client, so whatever is not built in and bounded is prepared in a worker, within
the deadline. What the client can mend is `BadCheck`; what it cannot is a member whose verdicts are
errors.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifiers.base import (
    AnswerContract,
    BadCheck,
    Candidate,
    Check,
    Prepared,
    Shortcut,
    ToolCall,
    Verifier,
    VerifierSpec,
    Watchable,
    get_verifier,
)
from verifiers.isolation import is_built_in, runs_inline, runs_remote
from verifiers.panel import Member
from verifiers.specs import HIDDEN, hash_options, read_spec, with_path
from verifiers.workers import Job, WorkerPool

log = logging.getLogger("verifiers")

MAX_CANARIES = 8


@dataclass(frozen=True, slots=True)
class _Ready:
    prepared: Prepared
    job: bytes | None = None
    fault: str = ""
    canaries: tuple[Candidate, ...] = ()


class Preparing:
    """Makes members, with the workers' help where they need it."""

    def __init__(self, pool: WorkerPool, deadline_ms: float) -> None:
        self._pool = pool
        self._deadline_ms = deadline_ms

    async def member(self, spec: VerifierSpec, check: Check) -> Member:
        """Raises `BadCheck` with the full path in `param`."""
        try:
            known = read_spec(spec)
            ready = await self._make_ready(known.verifier, known.options, check)
        except BadCheck as bad:
            raise with_path(bad, spec) from None
        if ready.fault:
            log.warning("verifier '%s' could not be prepared: %s", spec.use, ready.fault)
        return Member(
            verifier=known.verifier,
            prepared=ready.prepared,
            spec=spec,
            config_hash=known.config_hash,
            weight=known.weight,
            job=ready.job,
            fault=ready.fault,
            hidden=known.hidden,
            canaries=ready.canaries,
        )

    async def member_anyway(self, spec: VerifierSpec, check: Check) -> Member:
        """One that does not fit the request is a member whose verdicts are errors."""
        try:
            return await self.member(spec, check)
        except BadCheck as bad:
            log.warning("verifier '%s' of %s does not fit: %s", spec.use, spec.param, bad.message)
            return Member(
                verifier=get_verifier(spec.use),
                prepared=Prepared(payload=None),
                spec=spec,
                config_hash=hash_options(spec.options),
                fault="does_not_fit",
                hidden=spec.options.get(HIDDEN) is True,
            )

    async def _make_ready(
        self, verifier: Verifier, options: Mapping[str, Any], check: Check
    ) -> _Ready:
        if runs_inline(verifier):
            return _prepare_here(verifier, options, check)
        if runs_remote(verifier):
            return await asyncio.to_thread(_prepare_here, verifier, options, check)
        short = _prepare_short(verifier, options, check)
        if short is None:
            return await self._prepare_in_worker(verifier, options, check)
        self._pool.preload(getattr(verifier, "preload", ()))
        return short

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


def _prepare_here(verifier: Verifier, options: Mapping[str, Any], check: Check) -> _Ready:
    try:
        prepared = verifier.prepare(options, check)
        return _Ready(prepared, canaries=_canaries_of(verifier, prepared))
    except BadCheck:
        raise
    except Exception as raised:
        return _Ready(Prepared(payload=None), fault=f"raised {type(raised).__name__}")


def _prepare_short(verifier: Verifier, options: Mapping[str, Any], check: Check) -> _Ready | None:
    """Prepared here, with its job beside it for what only a worker may do."""
    if not isinstance(verifier, Shortcut) or not is_built_in(verifier):
        return None
    prepared = verifier.prepare_inline(options, check)
    if prepared is None:
        return None
    job = _job(verifier, options, check)
    return _Ready(prepared, job, canaries=_canaries_of(verifier, prepared))


def _job(verifier: Verifier, options: Mapping[str, Any], check: Check) -> bytes:
    try:
        return pickle.dumps((verifier.name, options, check))
    except RecursionError:
        raise BadCheck("nested too deeply") from None


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
