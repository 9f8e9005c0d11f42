"""What a rule answers over a recording, against another rule and against published replays."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from app.replay.measure import estimate, estimate_pooled
from app.replay.play import Setting
from app.replay.replay import (
    PLAIN,
    Replayed,
    believed,
    compare,
    half_of,
    replay_all,
    summarise,
)
from app.replay.rows import Recorded, Recording, Row, read_recordings
from app.task import RuleName
from tests.parts import ROOT, require
from tests.replay.recorded import a_recording, a_row, questions

RECORDED = ROOT.parent / "shared/data/recorded"


def replayed(recording: Recording, **setting) -> Replayed:
    ((found,),) = replay_all([recording], [Setting(**setting)])
    return found


def test_every_setting_gets_every_recording_in_its_order():
    recordings = [a_recording(*questions(70)), a_recording(a_row(["1"], name="one"))]
    settings = [Setting(orders=2), Setting(rule="fixed", orders=2)]

    found = replay_all(recordings, settings)

    assert [[each.recording for each in row] for row in found] == [recordings] * 2
    assert [[len(each.played) for each in row] for row in found] == [[70, 1]] * 2
    assert [row[0].setting for row in found] == settings


def test_questions_are_averaged_over_their_orders():
    found = replayed(a_recording(a_row(["1"] * 5), a_row(["2"] * 5)), orders=4)

    assert (found.accuracy, found.samples) == ([1.0, 0.0], [3.0, 3.0])


def test_the_summary_tells_shares_and_means():
    found = summarise(replayed(a_recording(a_row(["1"] * 5), a_row([None] * 5)), orders=2))

    assert (found.questions, found.cap, found.accuracy.mean) == (2, 5, 0.5)
    assert (found.samples.mean, found.rounds) == (4.0, 1.5)
    assert found.nulls == pytest.approx(5 / 8)
    assert found.stopped == {"cap": 0.5, "margin": 0.5}
    assert (found.tokens, found.reliability) == (None, None)


def test_a_rule_does_not_differ_from_itself():
    ours = replayed(a_recording(*questions(40)), orders=3)

    difference = compare([ours], [ours])

    assert (difference.accuracy.low, difference.accuracy.high) == (0.0, 0.0)
    assert difference.samples.mean == 0.0


def test_a_difference_is_paired_over_questions():
    """Two rules that are wrong on the same questions differ little, however few questions."""
    recording = a_recording(*questions(60))
    margin, fixed = replayed(recording, orders=3), replayed(recording, rule="fixed", orders=3)

    difference = compare([margin], [fixed])
    alone = estimate(margin.accuracy, seed=0)

    assert difference.accuracy.mean == pytest.approx(fmean(margin.accuracy) - fmean(fixed.accuracy))
    assert difference.accuracy.low <= difference.accuracy.mean <= difference.accuracy.high
    assert difference.accuracy.high - difference.accuracy.low < (alone.high - alone.low) / 2
    assert difference.samples.high < 0


def test_the_interval_is_the_one_of_the_mean():
    """Of a hundred coins: the mean plus and minus two standard errors of .05."""
    found = estimate([0.0, 1.0] * 50, seed=3)

    assert found.mean == 0.5
    assert found.low == pytest.approx(0.4, abs=0.02)
    assert found.high == pytest.approx(0.6, abs=0.02)


def test_pooled_groups_weigh_the_same_whatever_their_size():
    found = estimate_pooled([[1.0] * 90, [0.0] * 10], seed=0)

    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


def test_confidences_come_from_the_other_half_of_the_questions():
    """In one half nobody is ever right, so the other half is told so, and the other way round."""
    names = [f"q{i}" for i in range(700)]
    rows = [a_row([str(half_of(name))] * 3, name=name) for name in names]
    found = replayed(a_recording(*rows), orders=1)

    sure = believed(found, 0)

    assert len(sure) == 700
    assert all(each.confidence < 0.2 for each in sure if each.right)
    assert all(each.confidence > 0.8 for each in sure if not each.right)


def telling(count: int, *, right_tokens: int) -> Recording:
    """Questions of two camps of equal size; wrong answers take ten tokens."""
    rows = []
    for number in range(count):
        samples = [
            Recorded(answer=answer, correct=answer == "1", tokens=tokens + number % 7)
            for answer, tokens in (("1", right_tokens), ("2", 10))
            for _ in range(6)
        ]
        rows.append(Row(dataset="d", model="m", id=f"q{number}", samples=tuple(samples)))
    return a_recording(*rows)


def test_votes_are_weighed_where_the_other_half_shows_that_length_tells():
    recording = telling(150, right_tokens=80)

    weighed, plain = (replayed(recording, orders=2, scorer=scorer) for scorer in ("length", None))

    assert [each.questions > 20 for each in weighed.weights if each] == [True, True]
    assert fmean(weighed.accuracy) > 0.9 > 0.7 > fmean(plain.accuracy)
    assert fmean(weighed.samples) < fmean(plain.samples)


def test_votes_are_not_weighed_where_length_tells_nothing():
    recording = telling(150, right_tokens=10)
    weighed, plain = (replayed(recording, orders=1, scorer=s) for s in ("length", None))

    assert weighed.weights == PLAIN
    assert weighed.accuracy == plain.accuracy


def test_too_few_questions_give_no_confidence():
    """A half of under a hundred would leave the product without one, too."""
    assert believed(replayed(a_recording(*questions(150)), orders=1), 0) == []


COLUMNS: dict[str, tuple[RuleName, int]] = {
    "SC@3": ("fixed", 3),
    "SC@8": ("fixed", 8),
    "SC@40": ("fixed", 40),
    "AC.95": ("adaptive", 40),
    "ESC5": ("esc", 40),
    "margin3": ("margin", 40),
    "PPR.05": ("certified", 40),
    "curtail": ("exact", 40),
}


def test_rules_agree_with_an_independent_replay_of_the_same_rows():
    """The recorded baseline was made by other code with other orders.

    Ours may only be cheaper: every rule stops when nobody can overtake the leader. `certified` may
    be dearer than the baseline, which tests the leader against one rival only.
    """
    require(RECORDED.is_dir(), "the recorded samples are not beside this")
    (recording,) = (
        each
        for each in read_recordings([RECORDED / "samples_date.jsonl.gz"])
        if each.model == "gpt-3.5-turbo(cot1,n40)"
    )
    (baseline,) = (
        row["results"]
        for row in json.loads((RECORDED / "baseline.json").read_text())
        if (row["dataset"], row["model"]) == (recording.dataset, recording.model)
    )

    settings = [Setting(rule=rule, cap=cap, orders=4) for rule, cap in COLUMNS.values()]
    found = replay_all([recording], settings)

    for name, (ours,) in zip(COLUMNS, found, strict=True):
        dearer = 0.08 if name == "PPR.05" else 0.03
        accuracy, samples = fmean(ours.accuracy), fmean(ours.samples)
        assert accuracy == pytest.approx(baseline[name]["acc"], abs=0.012), name
        assert 0.9 * baseline[name]["n"] <= samples <= (1 + dearer) * baseline[name]["n"], name
