"""What a verifier said, checked before anybody believes it.

A finding that breaks the contract in any way is refused, and a refused finding becomes the verdict
`error`: a pass is never made of something odd. Used for results of this process and of workers.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from verifiers.base import Finding, Status

MAX_EVIDENCE_BYTES = 16_384
MAX_REASON_CHARS = 120
MAX_STEPS = 10_000


class BadFinding(ValueError):
    """A verifier returned something that is not a valid finding."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def to_wire(finding: object) -> dict[str, Any]:
    """A finding as plain values. Raises `BadFinding` for anything else."""
    if not isinstance(finding, Finding):
        raise BadFinding("not_a_finding")
    fields = dataclasses.fields(Finding)
    return {field.name: getattr(finding, field.name) for field in fields}


def from_wire(wire: Mapping[str, Any]) -> Finding:
    """The finding with its score clamped to 0..1 and its evidence made plain JSON.

    A pass without a score is worth 1 and a fail 0; abstain and error have none.
    """
    try:
        status = Status(wire["status"])
    except (KeyError, ValueError, TypeError):
        raise BadFinding("bad_status") from None
    reason = wire.get("reason")
    if not isinstance(reason, str):
        raise BadFinding("bad_reason")
    steps = _steps_of(wire.get("steps"))
    return Finding(
        status=status,
        score=_score_of(status, wire.get("score")),
        reason=_printable(reason)[:MAX_REASON_CHARS],
        evidence=_evidence_of(wire.get("evidence")),
        steps=steps,
        step_ends=_step_ends_of(wire.get("step_ends"), steps),
    )


def _score_of(status: Status, score: object) -> float | None:
    if score is not None:
        score = _clamped(score)
    if status is Status.PASS:
        return 1.0 if score is None else score
    if status is Status.FAIL:
        return 0.0 if score is None else score
    return None


def _clamped(score: object) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise BadFinding("bad_score")
    if isinstance(score, float) and not math.isfinite(score):
        raise BadFinding("bad_score")
    return float(min(1, max(0, score)))


def _steps_of(steps: object) -> tuple[float, ...] | None:
    if steps is None:
        return None
    if not isinstance(steps, list | tuple) or len(steps) > MAX_STEPS:
        raise BadFinding("bad_steps")
    return tuple(_clamped(step) for step in steps)


def _step_ends_of(ends: object, steps: tuple[float, ...] | None) -> tuple[int, ...] | None:
    if ends is None:
        return None
    if not isinstance(ends, list | tuple) or len(ends) != len(steps or ()):
        raise BadFinding("bad_step_ends")
    if not all(isinstance(end, int) and not isinstance(end, bool) and end > 0 for end in ends):
        raise BadFinding("bad_step_ends")
    return tuple(ends)


def _evidence_of(evidence: object) -> Mapping[str, Any]:
    if not isinstance(evidence, Mapping):
        raise BadFinding("bad_evidence")
    try:
        text = json.dumps(dict(evidence), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise BadFinding("bad_evidence") from None
    if len(text) > MAX_EVIDENCE_BYTES:
        return {"omitted": f"evidence over {MAX_EVIDENCE_BYTES} bytes"}
    plain: Mapping[str, Any] = json.loads(_printable(text))
    return plain


def _printable(text: str) -> str:
    """The text with halves of surrogate pairs replaced, so that it can be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")
