"""Metrics are a view of a finished group."""

from __future__ import annotations

from app.group import Call
from app.metrics import observe, open_ms, render
from app.voting.decide import decide
from tests.builders import a_group, a_scored, a_verdict


def call(start: float, end: float) -> Call:
    return Call(index=0, round=1, engine="main", n=1, seed=1, started_ms=start, finished_ms=end)


def test_overlapping_calls_are_open_once():
    assert open_ms((call(5, 20), call(0, 10), call(30, 40))) == 30


def test_a_group_counts_its_samples_verdicts_and_lost_tokens():
    before = render().decode()
    group = a_group(
        a_scored(0, "41", a_verdict("fail", verifier="metric_test")),
        a_scored(1, "42", a_verdict("pass", verifier="metric_test")),
    )
    observe(group.with_decision(decide(group, "verified")))
    after = render().decode()

    assert 'verdict="pass",verifier="metric_test"' not in before
    assert 'verivote_verifier_verdicts_total{verdict="fail",verifier="metric_test"} 1.0' in after
    assert 'verivote_requests_total{outcome="verified",route="hard"}' in after
