"""Metrics are a view of a finished group."""

from __future__ import annotations

from app.group import Decision
from app.metrics import observe, open_ms, render
from app.plan import Reason
from app.sample import Call
from app.voting.decide import decide
from tests.builders import a_group, a_plan, a_scored, a_verdict

FALLBACKS = 'verivote_fallbacks_total{reason="cap",served='


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


def test_a_group_that_fell_short_is_counted_by_whose_answer_was_served():
    def count(served: str) -> float:
        found = [
            line for line in render().decode().splitlines() if line.startswith(FALLBACKS + served)
        ]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    before = count('"fallback"'), count('"first"')
    first = a_group(a_scored(0, "41")).with_decision(
        Decision(status="unverified", winner=0, stop_reason="cap")
    )
    second = first.next_stage(a_plan()).with_decision(Decision(status="unverified", winner=None))
    observe(second)
    observe(second.previous_stage())

    assert (count('"fallback"'), count('"first"')) == (before[0] + 1, before[1] + 1)


def test_plans_are_counted_by_how_the_learned_score_stood():
    reasons = (Reason(feature="router", value="metric_test", contribution=0.0),)
    for explored in (False, True):
        plan = a_plan(reasons=reasons, explored=explored)
        observe(a_group(a_scored(0, "42"), plan=plan))
    after = render().decode()

    assert 'verivote_router_plans_total{path="hard",standing="metric_test"} 1.0' in after
    assert 'verivote_router_plans_total{path="explored",standing="metric_test"} 1.0' in after
