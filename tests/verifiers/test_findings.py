from __future__ import annotations

import math

import pytest

from verifiers.base import Finding, Status
from verifiers.findings import MAX_EVIDENCE_BYTES, BadFinding, from_wire, to_wire


def checked(**fields: object) -> Finding:
    return from_wire(to_wire(Finding(**fields)))


@pytest.mark.parametrize(
    ("status", "score", "kept"),
    [
        (Status.PASS, None, 1.0),
        (Status.FAIL, None, 0.0),
        (Status.PASS, 7, 1.0),
        (Status.FAIL, -1, 0.0),
        (Status.FAIL, 0.25, 0.25),
        (Status.PASS, 10**400, 1.0),
        (Status.ABSTAIN, 0.5, None),
        (Status.ERROR, 1.0, None),
    ],
)
def test_scores_are_clamped_and_only_graded_verdicts_have_one(status, score, kept):
    assert checked(status=status, score=score).score == kept


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "passed"}, "bad_status"),
        ({"status": None}, "bad_status"),
        ({"status": []}, "bad_status"),
        ({"status": "pass", "score": math.nan}, "bad_score"),
        ({"status": "pass", "score": math.inf}, "bad_score"),
        ({"status": "pass", "score": True}, "bad_score"),
        ({"status": "pass", "score": "1"}, "bad_score"),
        ({"status": "error", "score": math.nan}, "bad_score"),
        ({"status": "pass", "reason": None}, "bad_reason"),
        ({"status": "pass", "evidence": [1]}, "bad_evidence"),
        ({"status": "pass", "evidence": {"a": {1}}}, "bad_evidence"),
        ({"status": "pass", "evidence": {"a": math.nan}}, "bad_evidence"),
        ({"status": "pass", "steps": 3}, "bad_steps"),
        ({"status": "pass", "steps": [0.5, True]}, "bad_score"),
        ({"status": "pass", "steps": [1.0], "step_ends": 3}, "bad_step_ends"),
        ({"status": "pass", "steps": [1.0], "step_ends": [3, 4]}, "bad_step_ends"),
        ({"status": "pass", "step_ends": [3]}, "bad_step_ends"),
        ({"status": "pass", "steps": [1.0], "step_ends": [0]}, "bad_step_ends"),
        ({"status": "pass", "steps": [1.0], "step_ends": [2.0]}, "bad_step_ends"),
        ({"status": "pass", "steps": [1.0], "step_ends": [True]}, "bad_step_ends"),
    ],
    ids=str,
)
def test_a_finding_out_of_contract_is_refused(fields, reason):
    with pytest.raises(BadFinding) as refused:
        checked(**fields)

    assert refused.value.reason == reason


@pytest.mark.parametrize("said", [True, None, 1.0, "pass", {"status": "pass"}, object()])
def test_what_is_no_finding_is_refused(said):
    with pytest.raises(BadFinding, match="not_a_finding"):
        to_wire(said)


def test_evidence_becomes_plain_json():
    finding = checked(status=Status.PASS, evidence={"pair": (1, 2), "text": "\ud800"})

    assert finding.evidence == {"pair": [1, 2], "text": "?"}


def test_endless_evidence_is_left_out_and_the_verdict_stays():
    finding = checked(status=Status.FAIL, evidence={"text": "x" * MAX_EVIDENCE_BYTES})

    assert (finding.status, list(finding.evidence)) == (Status.FAIL, ["omitted"])


def test_evidence_without_an_end_is_refused():
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(BadFinding, match="bad_evidence"):
        checked(status=Status.PASS, evidence={"loop": loop})
