"""The report of a night is one JSON document, whatever stage the night came to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.retrain.report import history_of, night_report, point_of
from tests.retrain import reports


@pytest.mark.parametrize("report", [reports.promoted, reports.refused, reports.skipped])
def test_a_report_is_json(report: Any) -> None:
    made = report()

    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_stages_that_were_not_reached_are_null() -> None:
    made = reports.skipped()

    assert made["selection"]["groups"] == 40
    assert (made["training"], made["gate"], made["canary"]) == (None, None, None)
    assert made["reliability"] == {"incumbent": None, "candidate": None}


def test_every_step_of_the_training_is_kept_with_its_numbers() -> None:
    curve = reports.promoted()["training"]["curve"]

    assert [step["step"] for step in curve] == list(range(40))
    assert {"reward", "kl", "ess", "grad_norm"} <= set(curve[0])


def test_the_share_of_the_traffic_is_explained() -> None:
    canary = reports.promoted()["canary"]

    assert canary["step"] == "promote"
    assert canary["explained"].startswith("promote: the canary failed 12 of 400 (3.0%)")


def test_reliability_is_told_of_both_policies() -> None:
    found = reports.promoted()["reliability"]

    assert found["incumbent"]["answers"] == found["candidate"]["answers"] == 220
    assert 0 < found["candidate"]["calibration_error"] < 0.2


def test_nights_that_were_compared_are_points_of_a_curve() -> None:
    points = reports.promoted()["earlier"]

    assert [(p["policy"], p["promoted"]) for p in points] == [
        ("policy-2", False),
        ("policy-3", True),
    ]
    assert point_of(reports.skipped()) is None


def test_the_signs_of_promoted_policies_are_what_the_next_gate_compares_with() -> None:
    history = history_of([reports.refused(), reports.first(), reports.promoted()])

    assert len(history["cut"]) == 2
    assert max(history["cut"]) == 0.0


def test_a_report_holds_no_text_of_prompts_or_answers() -> None:
    said = json.dumps(reports.promoted())

    assert "question 1" not in said
    assert "carry one over" not in said


def test_a_night_that_runs_has_a_report_too() -> None:
    night = reports.a_night(status="running", reason="", finished_at=None)

    assert night_report(night)["night"]["finished_at"] is None
