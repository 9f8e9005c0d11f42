"""How sure: what agreement is worth on a route, and when nothing may be said about it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.group import Decision
from app.voting.confidence import (
    MIN_LABELS,
    UNANIMITY,
    Calibration,
    Evidence,
    confidence,
    evidence_of,
    fit_calibration,
    score,
)
from app.voting.reliability import Believed, reliability_of
from tests.builders import a_group, a_plan, a_scored, a_verdict

THREE = Evidence(n=3, a=3, b=0, distinct=1, nulls=0)
FOUR_ONE = Evidence(n=5, a=4, b=1, distinct=2, nulls=0)
SPLIT = Evidence(n=8, a=3, b=2, distinct=5, nulls=0)
SILENT = Evidence(n=3, a=0, b=0, distinct=0, nulls=3)
PROVEN = Evidence(n=1, a=1, b=0, distinct=1, nulls=0, proven=True)


def labels(*rows: tuple[Evidence, int, int]) -> list[tuple[Evidence, bool]]:
    """Evidence, how many of its answers are right, and how many there are."""
    return [(evidence, i < right) for evidence, right, total in rows for i in range(total)]


def test_evidence_counts_votes_and_what_did_not_vote():
    group = a_group(
        a_scored(0, "42"),
        a_scored(1, "42"),
        a_scored(2, "41"),
        a_scored(3, None),
        a_scored(4, "42", finish_reason="length"),
        a_scored(5, "42", a_verdict("fail")),
    )

    assert evidence_of(group) == Evidence(n=6, a=2, b=1, distinct=2, nulls=3)


def test_a_sample_that_was_cancelled_is_no_evidence():
    cut = a_scored(3, None, finish_reason=None, cancelled=True)

    assert evidence_of(a_group(*(a_scored(i, "42") for i in range(3)), cut)) == THREE


def test_a_tie_has_a_runner_up_as_strong_as_its_leader():
    evidence = evidence_of(a_group(a_scored(0, "42"), a_scored(1, "41")))

    assert (evidence.a, evidence.b) == (1, 1)


def test_only_voters_for_the_leader_make_both_kinds():
    program = a_scored(1, "41", kind="program")
    against = a_group(a_scored(0, "42"), program, a_scored(2, "42"))
    with_it = a_group(a_scored(0, "42"), replace(program, answer=a_scored(1, "42").answer))

    assert not evidence_of(against).both_kinds
    assert evidence_of(with_it).both_kinds


def test_evidence_is_that_of_the_running_stage():
    first = a_group(*(a_scored(i, str(i)) for i in range(4)))
    first = first.with_decision(Decision(status="unverified", winner=0, stop_reason="cap"))
    drawn = [a_scored(4 + i, "42", stage=1) for i in range(3)]
    group = first.next_stage(a_plan(policy="big")).with_scored(*drawn)
    group = group.with_tally(a_group(*drawn).tally)

    assert evidence_of(group) == THREE


def test_better_agreement_has_a_higher_score():
    ladder = [
        SILENT,
        Evidence(n=16, a=2, b=2, distinct=12, nulls=0),
        SPLIT,
        Evidence(n=1, a=1, b=0, distinct=1, nulls=0),
        Evidence(n=2, a=2, b=0, distinct=1, nulls=0),
        THREE,
    ]

    scores = [score(evidence) for evidence in ladder]

    assert scores == sorted(scores)
    assert score(FOUR_ONE) < score(THREE)


def test_a_pair_of_both_kinds_is_worth_three_of_a_kind():
    pair = Evidence(n=2, a=2, b=0, distinct=1, nulls=0, both_kinds=True)

    assert score(pair) == pytest.approx(score(THREE), abs=1e-3)


def test_a_cold_route_says_nothing():
    nearly = fit_calibration(labels((THREE, 99, MIN_LABELS - 1)))

    assert confidence(THREE, None) is None
    assert confidence(THREE, nearly) is None
    assert confidence(THREE, fit_calibration(labels((THREE, 99, MIN_LABELS)))) is not None


def test_nothing_drawn_has_no_confidence():
    nothing = Evidence(n=0, a=0, b=0, distinct=0, nulls=0)

    assert confidence(nothing, fit_calibration(labels((THREE, 150, 200)))) is None


def test_labels_of_refuted_answers_say_nothing_about_votes():
    """On a route whose verifier refuted a hundred answers, a vote that it could not check is still
    a vote of which nobody knows what it is worth."""
    refuted = fit_calibration(labels((SILENT, 0, 200)))

    assert confidence(THREE, refuted) is None
    assert confidence(SILENT, refuted) == pytest.approx(0.0, abs=0.02)


def test_the_same_agreement_is_worth_what_it_is_worth_on_its_route():
    easy = fit_calibration(labels((THREE, 291, 300), (FOUR_ONE, 35, 40), (SPLIT, 12, 20)))
    hard = fit_calibration(labels((THREE, 243, 300), (FOUR_ONE, 20, 40), (SPLIT, 6, 20)))

    assert confidence(THREE, easy) == pytest.approx(0.97, abs=0.02)
    assert confidence(THREE, hard) == pytest.approx(0.81, abs=0.02)
    assert confidence(FOUR_ONE, hard) < 0.65 < 0.85 < confidence(FOUR_ONE, easy)


def test_a_route_of_free_prose_has_its_share_of_right_answers():
    prose = fit_calibration(labels((SILENT, 180, 200)))

    assert confidence(SILENT, prose) == pytest.approx(0.9, abs=0.02)


def test_a_proven_answer_is_as_sure_as_proofs_were_right_and_not_as_its_votes():
    calibration = fit_calibration(labels((PROVEN, 198, 200), (THREE, 100, 200)))

    assert confidence(PROVEN, calibration) == pytest.approx(198.5 / 201)
    assert confidence(replace(PROVEN, n=9, a=5, b=4), calibration) == pytest.approx(198.5 / 201)


def test_proofs_need_labels_of_their_own():
    assert confidence(PROVEN, fit_calibration(labels((THREE, 300, 300)))) is None
    assert confidence(THREE, fit_calibration(labels((PROVEN, 300, 300)))) is None


def test_whatever_the_labels_say_better_evidence_is_not_less_sure():
    upside_down = fit_calibration(labels((THREE, 0, 200), (SPLIT, 200, 200)))

    assert confidence(THREE, upside_down) > confidence(SPLIT, upside_down)


def test_a_calibration_is_read_back_from_its_state():
    calibration = fit_calibration(
        labels((THREE, 90, 100), (SILENT, 1, 9), (PROVEN, 5, 5)), route="maths", policy="policy-3"
    )

    state = json.loads(json.dumps(calibration.to_state()))

    assert Calibration.from_state(state) == calibration


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"route": "r", "policy": "p", "outcomes": [[]]},
        {"route": "r", "policy": "p", "columns": ["right"], "outcomes": [[True]]},
        {"route": "r", "policy": "p", "columns": ["right"], "outcomes": [[True, 3]]},
        {
            **fit_calibration([(THREE, True)]).to_state(),
            "outcomes": [["", True, None, *"abcdef", False]],
        },
        {**fit_calibration([(THREE, True)]).to_state(), "outcomes": 7},
    ],
)
def test_a_state_of_another_form_is_refused(state):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Calibration.from_state(state)


@given(st.lists(st.tuples(st.sampled_from([THREE, FOUR_ONE, SPLIT, SILENT]), st.booleans())))
def test_a_confidence_is_a_probability_and_its_offset_is_one_of_those_fixed_before(pairs):
    calibration = fit_calibration(pairs)

    assert calibration.unanimity in UNANIMITY
    for evidence in (THREE, FOUR_ONE, SPLIT, SILENT):
        sure = confidence(evidence, calibration)
        assert sure is None or 0 <= sure <= 1


@pytest.mark.parametrize(("count", "error"), [(100, 0.08), (400, 0.05)])
def test_few_labels_calibrate_a_route_on_which_votes_mean_something_else(count, error):
    """Mean over twenty logs; each calibration is asked about two thousand other answers."""
    right = {THREE: 0.8, FOUR_ONE: 0.5, SPLIT: 0.35}
    errors = []
    for seed in range(20):
        rng = random.Random(seed)
        drawn = rng.choices(list(right), [75, 15, 10], k=count + 2000)
        pairs = [(evidence, rng.random() < right[evidence]) for evidence in drawn]
        calibration = fit_calibration(pairs[:count])
        asked = [
            Believed(confidence=confidence(evidence, calibration), right=truth)
            for evidence, truth in pairs[count:]
        ]
        errors.append(reliability_of(asked).calibration_error)

    assert fmean(errors) < error
