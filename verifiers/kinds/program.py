"""`program`: a program comes to the same number as the text.

A second sample of another kind: word problems go wrong in text and in code for different reasons,
so agreement is evidence. It is not proof, and never makes an answer verified. A disagreement with a
program that was handed in is a fail; with the completion's own program it decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
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
from verifiers.code_blocks import find_program
from verifiers.extract import extract_answer

MAX_PROGRAM_CHARS = 50_000
_NUMBER = AnswerContract(kind="number")
_FENCED = re.compile(r"^[ \t]*```.*?(?:^[ \t]*```[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)


@register
class ProgramResult:
    name: ClassVar[str] = "program"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "outcome"
    isolation: ClassVar[Isolation] = "sandbox"
    options: ClassVar[Mapping[str, str]] = {
        "program": "Python that prints the number or sets `answer`. Default: the completion's own.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        program = options.get("program")
        if program is not None:
            if not isinstance(program, str) or not 0 < len(program) <= MAX_PROGRAM_CHARS:
                limit = f"at most {MAX_PROGRAM_CHARS} characters"
                raise BadCheck(f"a program is Python as text of {limit}", param="program")
            found = find_program(program)
            program = found.source if found is not None else program
        return Prepared(payload=program, contract=_NUMBER)

    def verify(
        self, prepared: Prepared, candidate: Candidate, answer: Answer
    ) -> Finding | SandboxJob:
        said = _said(prepared, candidate, answer)
        if said.key is None:
            return Finding(status=Status.FAIL, reason=said.reason)
        source: str | None = prepared.payload
        if source is None:
            found = find_program(candidate.text)
            if found is None or found.rule == "whole_text":
                return Finding(status=Status.ABSTAIN, reason="no_program")
            source = found.source
        return SandboxJob(source=source, probes=("",), load=False)

    def conclude(
        self,
        prepared: Prepared,
        candidate: Candidate,
        answer: Answer,
        report: Mapping[str, Any],
    ) -> Finding:
        try:
            run = report["runs"][0]
            fault, observed = str(run["fault"]), run["observed"]
            output = str(observed[0]) if observed else ""
        except (KeyError, IndexError, TypeError):
            return Finding(status=Status.ERROR, reason="sandbox_failed")
        if fault or output.startswith("!"):
            reason = fault or "program_raised"
            return Finding(status=Status.ABSTAIN, reason=reason, evidence={"why": output[:200]})
        said = _said(prepared, candidate, answer)
        computed = extract_answer(Candidate(text=output), _NUMBER)
        evidence = {"said": said.key, "computed": computed.key, "output": output[:200]}
        if computed.key is None:
            return Finding(status=Status.ABSTAIN, reason="no_number", evidence=evidence)
        if computed.key == said.key:
            return Finding(status=Status.PASS, reason="program_agrees", evidence=evidence)
        own = prepared.payload is None
        status = Status.ABSTAIN if own else Status.FAIL
        return Finding(status=status, reason="program_disagrees", evidence=evidence)


def _said(prepared: Prepared, candidate: Candidate, answer: Answer) -> Answer:
    """The text's answer; a completion's own program is not part of the text."""
    if prepared.payload is not None:
        return answer
    return extract_answer(replace(candidate, text=_FENCED.sub("", candidate.text)), _NUMBER)
