"""`unit_tests`: the program does what the tests say.

Program and tests run in two sandboxed processes between which only plain values cross, so a pass
is never made of an exit code, of printed text or of an object that calls itself equal. Two runs, in
different order and with a fresh process each, must agree. A pass is proof for these tests, hidden
ones included; it says nothing about inputs that no test has.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from verifiers.base import (
    Answer,
    AnswerContract,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Isolation,
    Prepared,
    Role,
    SandboxJob,
    Status,
    register,
)
from verifiers.code_blocks import Program, defines, find_program
from verifiers.extract import MAX_CHARS
from verifiers.options import read_number_between
from verifiers.suites import Suite, Unit, read_suite
from verifiers.trimming import after_thinking

MAX_TIME_MS = 10_000
MEMORY_MB = (64, 2_048)
MAX_PROBES = 50
MAX_TOLD = 20
"""Failed tests that the evidence names."""


@dataclass(frozen=True, slots=True)
class Task:
    """The options, read."""

    suite: Suite
    names: tuple[str, ...]
    prompt: str
    probes: tuple[str, ...]
    time_limit_ms: float
    memory_mb: int


@register
class UnitTests:
    name: ClassVar[str] = "unit_tests"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "sandbox"
    options: ClassVar[Mapping[str, str]] = {
        "entry_point": "Name of the function or class under test, or a list. Default: as used.",
        "tests": "Asserts, test functions or classes as text, or a list of such and of cases.",
        "hidden_tests": "More of the same; only their number is ever told.",
        "setup": "Python that runs before the tests, in their process: imports, helpers, oracles.",
        "probes": "Expressions such as `f(3)` whose values are what programs vote by.",
        "time_limit_ms": "For all calls of one run together. Default 2000, at most 10000.",
        "memory_mb": "Memory of the program. Default 512, from 64 to 2048.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        names = _texts(options.get("entry_point", []), "entry_point")
        if not all(name.isidentifier() for name in names):
            raise BadCheck("an entry point is a Python name", param="entry_point")
        probes = _texts(options.get("probes", []), "probes")
        if len(probes) > MAX_PROBES:
            raise BadCheck(f"more than {MAX_PROBES} probes", param="probes")
        setup = options.get("setup", "")
        if not isinstance(setup, str):
            raise BadCheck("setup is Python as text", param="setup")
        suite = read_suite(
            tests=options.get("tests"),
            hidden=options.get("hidden_tests"),
            setup=setup,
            entries=names,
            probes=probes,
        )
        task = Task(
            suite=suite,
            names=names or suite.entries,
            prompt=check.prompt,
            probes=probes,
            time_limit_ms=read_number_between(options, "time_limit_ms", 2_000, 1, MAX_TIME_MS),
            memory_mb=int(read_number_between(options, "memory_mb", 512, *MEMORY_MB)),
        )
        contract = AnswerContract(kind="code", names=task.names)
        # A helper of the program that nobody put under test could bend the test to itself.
        decisive = bool(suite.units) and not suite.borrowed
        return Prepared(payload=task, contract=contract, decisive=decisive)

    def verify(
        self, prepared: Prepared, candidate: Candidate, answer: Answer
    ) -> Finding | SandboxJob:
        task: Task = prepared.payload
        if candidate.finish_reason in ("length", "content_filter"):
            return Finding(status=Status.FAIL, reason=answer.reason)
        program = _program_of(candidate.text, task)
        if program is None:
            return Finding(status=Status.FAIL, reason=answer.reason or "no_answer")
        units = task.suite.units
        first = list(range(len(units)))
        second = list(first)
        if not task.suite.ordered:
            random.Random(program.source).shuffle(second)
        return SandboxJob(
            source=program.source,
            units=tuple(unit.run for unit in units),
            orders=(tuple(first), tuple(second)),
            entries=task.suite.entries,
            modules=task.suite.modules,
            setup=task.suite.setup,
            probes=task.probes,
            load=bool(task.probes) or any(unit.run["kind"] != "stdio" for unit in units),
            time_limit_ms=task.time_limit_ms,
            memory_bytes=task.memory_mb * 2**20,
        )

    def conclude(
        self,
        prepared: Prepared,
        candidate: Candidate,
        answer: Answer,
        report: Mapping[str, Any],
    ) -> Finding:
        task: Task = prepared.payload
        units = task.suite.units
        try:
            runs = [_Run.read(run, len(units)) for run in report["runs"]]
            first, last = runs[0], runs[-1]
        except (KeyError, IndexError, TypeError, ValueError):
            return Finding(status=Status.ERROR, reason="tests_died")
        program = _program_of(candidate.text, task)
        evidence: dict[str, Any] = {"rule": program.rule if program else None}
        for run in runs:
            if run.broken or run.fault == "no_sandbox":
                reason = "tests_broken" if run.broken else "sandbox_failed"
                return Finding(status=Status.ERROR, reason=reason, evidence={"why": run.broken})
        evidence["behaviour"] = first.behaviour
        passed = [all(run.results[index] for run in runs) for index in range(len(units))]
        evidence |= _told(units, passed, last)
        if not units and first.loaded == "value" and not first.fault:
            return Finding(status=Status.ABSTAIN, reason="no_tests", evidence=evidence)
        if all(passed) and all(run.clean for run in runs) and len(runs) == 2:
            return Finding(status=Status.PASS, reason="tests_passed", evidence=evidence)
        total = sum(unit.weight for unit in units)
        got = sum(unit.weight for unit, ok in zip(units, passed, strict=True) if ok)
        return Finding(
            status=Status.FAIL,
            score=got / total if total else 0.0,
            reason=_reason(runs),
            evidence=evidence,
        )

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        """Texts without a program."""
        return (Candidate(text="I cannot do that."), Candidate(text="```python\n```"))


@dataclass(frozen=True, slots=True)
class _Run:
    """One run as the test process told it, checked."""

    fault: str
    loaded: str
    broken: str
    behaviour: str
    clean: bool
    results: list[bool]
    details: Mapping[str, str]

    @classmethod
    def read(cls, told: Any, units: int) -> _Run:
        results = [each is True for each in told["results"]]
        if len(results) != units:
            raise ValueError("a result is missing")
        return cls(
            fault=str(told["fault"]),
            loaded=str(told["loaded"]),
            broken=str(told["broken"]),
            behaviour=str(told["behaviour"]),
            clean=told["clean"] is True,
            results=results,
            details={str(key): str(why) for key, why in dict(told["details"]).items()},
        )


def _reason(runs: Sequence[_Run]) -> str:
    last = runs[-1]
    if last.fault:
        return last.fault
    if last.loaded != "value":
        return "not_loaded"
    return "flaky" if len(runs) > 1 else "tests_failed"


def _told(units: Sequence[Unit], passed: Sequence[bool], last: _Run) -> dict[str, Any]:
    """Counts, and what failed; of hidden tests never more than how many."""
    shown = [index for index, unit in enumerate(units) if not unit.hidden]
    told: dict[str, Any] = {"tests": len(shown), "passed": sum(passed[i] for i in shown)}
    if len(shown) < len(units):
        told["hidden"] = len(units) - len(shown)
        told["hidden_passed"] = sum(passed) - told["passed"]
    if last.loaded != "value":
        told["loaded"] = last.loaded
    failed = [index for index in shown if not passed[index]][:MAX_TOLD]
    if failed:
        whys = last.details
        told["failed"] = [
            {"test": units[index].name, "why": whys.get(str(index), "")} for index in failed
        ]
    return told


def _program_of(text: str, task: Task) -> Program | None:
    """The program, or the prompt's beginning and a completion that goes on from it."""
    answer = after_thinking(text)
    if answer is None or len(text) > MAX_CHARS:
        return None
    found = find_program(answer, task.names)
    if (found is not None and defines(found.source, task.names)) or "```" in text:
        return found
    if task.names and defines(task.prompt, task.names):
        joined = f"{task.prompt}{'' if task.prompt.endswith(chr(10)) else chr(10)}{text}"
        try:
            ast.parse(joined)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return found
        return Program(joined, "continuation")
    return found


def _texts(value: Any, option: str) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(each, str) for each in listed):
        raise BadCheck(f"{option} is a text or a list of texts", param=option)
    return tuple(listed)
