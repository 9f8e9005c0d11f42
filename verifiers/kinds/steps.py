"""`steps`: every arithmetic step that the text writes down is recomputed.

A process verifier and a veto: one wrong step fails the answer, and right steps prove nothing (of
5,276 graded GSM8K solutions it refutes few of the wrong ones: most slips are in what is calculated,
not in the calculation). Its score is the share of right steps, kept apart from the outcome. What it
cannot read without doubt is no step (verifiers/equations.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from verifiers.base import (
    Answer,
    BadCheck,
    Candidate,
    Check,
    Finding,
    Isolation,
    Prepared,
    Role,
    Status,
    register,
)
from verifiers.canonical import number_key
from verifiers.equations import find_steps
from verifiers.extract import after_thinking
from verifiers.options import read_whole_between

MAX_SHOWN = 20
ROUNDING = ("written", "none")


@register
class Steps:
    name: ClassVar[str] = "steps"
    version: ClassVar[str] = "1"
    role: ClassVar[Role] = "process"
    isolation: ClassVar[Isolation] = "worker"
    options: ClassVar[Mapping[str, str]] = {
        "rounding": "`written` (default): a result may be rounded or cut to its decimals. "
        "`none`: only `≈` may round.",
        "min_steps": "How many readable steps there must be. Default 0: none is needed.",
    }

    def detect(self, check: Check) -> None:
        return None

    def prepare(self, options: Mapping[str, Any], check: Check) -> Prepared:
        rounding = options.get("rounding", "written")
        if rounding not in ROUNDING:
            raise BadCheck(f"rounding is one of: {', '.join(ROUNDING)}", param="rounding")
        least = read_whole_between(options, "min_steps", 0, 0, 100)
        return Prepared(payload=(rounding == "written", least))

    def verify(self, prepared: Prepared, candidate: Candidate, answer: Answer) -> Finding:
        rounding, least = prepared.payload
        text = after_thinking(candidate.text)
        if text is None:
            return Finding(status=Status.ABSTAIN, reason="unfinished_thinking")
        steps = find_steps(text, rounding=rounding)
        scores = tuple(float(step.right) for step in steps)
        before = len(candidate.text.rstrip()) - len(text)  # thinking, and space around it
        ends = tuple(before + step.end for step in steps)
        wrong = [step for step in steps if not step.right]
        evidence: dict[str, Any] = {"steps": len(steps), "wrong": len(wrong)}
        if wrong:
            evidence["first_wrong"] = {
                "step": wrong[0].text,
                "number": steps.index(wrong[0]) + 1,
                "is": number_key(wrong[0].value)[:80],
                "said": number_key(wrong[0].said)[:80],
            }
            evidence["all_wrong"] = [step.text for step in wrong[:MAX_SHOWN]]
            share = sum(scores) / len(scores)
            return Finding(
                status=Status.FAIL,
                score=share,
                reason="wrong_step",
                evidence=evidence,
                steps=scores,
                step_ends=ends,
            )
        if len(steps) < least:
            return Finding(
                status=Status.FAIL,
                reason="too_few_steps",
                evidence=evidence,
                steps=scores,
                step_ends=ends,
            )
        if not steps:
            return Finding(status=Status.ABSTAIN, reason="no_steps")
        return Finding(
            status=Status.PASS,
            reason="steps_right",
            evidence=evidence,
            steps=scores,
            step_ends=ends,
        )

    def canaries(self, prepared: Prepared) -> Sequence[Candidate]:
        return [Candidate(text="2 + 2 = 5"), Candidate(text="So 3 * 7 = 22 apples.")]
