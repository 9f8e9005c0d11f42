from __future__ import annotations

import dataclasses

import pytest

from app.group import Decision, Group, Tally
from app.plan import VoteWeights
from app.store.base import Label
from app.task import Options
from app.ui.trace_detail import TraceDetail, trace_detail
from tests.ui.sample_groups import (
    NOON,
    cached,
    cascade,
    every_group,
    failed,
    greeting,
    hostile,
    sixteen,
    split_vote,
    tool_call,
    unverified,
    without_content,
)


def view(group: Group, *labels: Label) -> TraceDetail:
    return trace_detail(group, labels, base_url="http://gw:1", token="t", session=False)


def facts(page: TraceDetail) -> dict[str, str]:
    return {fact.name: fact.value for fact in page.verdict.facts}


def test_a_split_vote_shows_every_answer_and_which_one_was_proven():
    page = view(split_vote())

    assert [(r.answer, r.drawn, r.votes, r.proven, r.won) for r in page.tally.rows] == [
        ("411", 1, 1, 1, True),
        ("401", 1, 0, 0, False),
        ("459", 1, 0, 0, False),
    ]
    assert page.tally.silent == ((1, "calculator refuted it"), (3, "calculator refuted it"))
    assert page.verdict.sentence == "Proven: calculator checked this answer and passed it."


def test_weighed_votes_are_told_with_their_reason():
    group = sixteen()
    leader, other = group.tally.votes[0][0], group.tally.votes[1][0]
    weights = VoteWeights(scorer="length", slope=-2.0, auc=0.73, questions=55)
    tally = dataclasses.replace(group.tally, weights=((leader, 9.25), (other, 4.0)))
    plan = dataclasses.replace(group.plan, weights=weights)

    page = view(dataclasses.replace(group, plan=plan, tally=tally))

    assert page.tally.weights == (
        "Votes weigh by length, because on this route the shorter of a right and a wrong sample "
        "was the right one 73 % of the time (55 labelled questions): "
        f"{leader}: 9.2, {other}: 4."
    )
    assert view(group).tally.weights == ""


def test_the_answer_is_the_vote_key_and_candidates_stand_in_drawing_order():
    group = split_vote()
    wordy = tuple(
        dataclasses.replace(s, answer=dataclasses.replace(s.answer, text="that makes 411"))
        for s in reversed(group.scored)
    )
    page = view(dataclasses.replace(group, scored=wordy))

    assert page.verdict.answer is not None
    assert page.verdict.answer.text == "411"
    assert [candidate.number for candidate in page.candidates] == [1, 2, 3]
    assert [number for number, _ in page.tally.silent] == [1, 3]


def test_the_verdict_bar_counts_votes_checks_and_tokens():
    assert facts(view(split_vote())) == {
        "Votes": "1 of 1",
        "Passed": "1 of 3",
        "Route": "hard",
        "Time": "356 ms",
        "Tokens": "67",
        "Cache": "missed",
    }


def test_a_sample_without_a_vote_says_why():
    assert view(unverified()).tally.silent == (
        (3, "no answer was found in the text"),
        (5, "it was cut by the token limit"),
        (6, "it was cancelled before it ended, because it was no longer needed"),
    )


def test_a_tie_is_explained():
    assert "never to chance" in view(sixteen()).tally.tie
    assert view(split_vote()).tally.tie == ""


def test_large_integers_keep_every_digit():
    page = view(tool_call())

    assert page.verdict.answer is not None
    assert page.verdict.answer.text == "get_order(id=9007199254740993)"
    assert [row.answer[-4:-1] for row in page.tally.rows] == ["993", "992"]
    assert page.candidates[1].tools[0][1].text == '{"id":9007199254740993}'


def test_four_candidates_stand_side_by_side_and_more_become_a_table():
    assert view(split_vote()).side_by_side
    assert not view(sixteen()).side_by_side


def test_the_matrix_has_a_cell_for_every_verifier_and_candidate():
    page = view(sixteen())

    assert [head.name for head in page.verifiers] == ["json_schema", "number"]
    assert {len(candidate.cells) for candidate in page.candidates} == {2}
    assert [c.cells[1].state.word for c in page.candidates[:4]] == [
        "Pass",
        "Fail",
        "Abstain",
        "Error",
    ]


def test_a_verifier_that_never_ran_on_a_sample_is_shown_as_such():
    cells = view(hostile()).candidates[1].cells

    assert [(cell.state.word, cell.score) for cell in cells] == [("Not run", "")]


def test_rewards_have_mean_and_spread_and_none_is_not_zero():
    page = view(sixteen())

    assert (page.learning.mean, page.learning.sd) == ("0.333", "0.272")
    assert page.learning.rows[3].reward == "–"


def test_equal_rewards_teach_nothing():
    group = split_vote()
    same = tuple(dataclasses.replace(scored, reward=1.0) for scored in group.scored)

    assert "teaches nothing" in view(dataclasses.replace(group, scored=same)).learning.sentence


def test_a_cached_answer_names_its_source_and_age():
    page = view(cached())

    assert page.cache.source == split_vote().trace_id
    assert page.cache.sentence == "Served from the cache. The answer was verified 13 min earlier."
    assert facts(page)["Cache"] == "hit"


def test_a_shared_answer_does_not_claim_to_be_verified():
    group = cached()
    shared = dataclasses.replace(group, cache=dataclasses.replace(group.cache, coalesced=True))

    assert "verified" not in view(shared).cache.sentence
    assert "an equal request was running" in view(shared).tally.stop


def test_a_cached_answer_keeps_the_votes_of_samples_it_no_longer_has():
    votes = Tally(votes=(("411", 3), ("401", 1)), leader="411", runner_up="401", margin=2)
    rows = view(dataclasses.replace(cached(), tally=votes)).tally.rows

    assert [(row.answer, row.drawn, row.votes) for row in rows] == [("411", 3, 3), ("401", 1, 1)]


def test_a_request_that_avoids_the_cache_says_so():
    group = split_vote()
    task = dataclasses.replace(group.task, options=Options(cache="off"))

    assert facts(view(dataclasses.replace(group, task=task)))["Cache"] == "not asked"


def test_a_failure_says_code_status_and_place():
    page = view(failed())

    assert page.verdict.state.kind == "failed"
    assert [fact.value for fact in page.error[:3]] == ["upstream_unavailable", "502", "engine"]
    assert page.candidates == ()


def test_prose_is_served_whole_and_not_voted_on():
    page = view(greeting())

    assert page.verdict.answer is not None
    assert page.verdict.answer.text == "Good morning! How can I help you today?"
    assert facts(page)["Votes"] == "none"


def test_without_content_there_is_no_command_to_repeat():
    page = view(without_content())

    assert page.curl == ""
    assert page.raw.content == "No texts are kept for this request."


def test_a_long_text_is_capped_and_counted():
    text = view(hostile()).candidates[0].text

    assert len(text.text) < 21_000
    assert text.cut > 30_000


def test_reasons_come_weightiest_first_with_their_sign():
    reasons = view(split_vote()).route.reasons

    assert [(r.feature, r.contribution, r.raises) for r in reasons] == [
        ("has verifier", "+1.40", True),
        ("numbers", "+0.60", True),
        ("words", "−0.25", False),
    ]
    assert (reasons[0].x, reasons[0].width) == (50, 50)


def test_labels_are_listed_with_their_words():
    label = Label(
        id="1",
        trace_id=split_vote().trace_id,
        kind="wrong",
        created_at=NOON,
        author="key-1",
        correction="411",
        note="off by ten",
    )
    row = view(split_vote(), label).labels.rows[0]

    assert (row.kind, row.author, row.at) == ("wrong", "key-1", "24 Nov 2026, 12:00 UTC")
    assert row.note == "off by ten Right would be: 411"


PROMISE = "This route promises that at most 5 % of what it serves is wrong"


@pytest.mark.parametrize(
    ("confidence", "threshold", "sentence", "help"),
    [
        (
            0.62,
            0.91,
            f"{PROMISE}, so it asks for a confidence of 91 %; this answer has 62 %.",
            "the route asks for 91 %",
        ),
        (0.62, None, f"{PROMISE}, and by its labels no vote is sure enough for that.", ""),
        (
            None,
            None,
            f"{PROMISE}, and has too few labels to say how sure an answer is.",
            None,
        ),
    ],
)
def test_an_answer_that_was_not_sure_enough_says_why(confidence, threshold, sentence, help):
    group = unverified()
    decision = dataclasses.replace(
        group.decision, confidence=confidence, threshold=threshold, abstained=True
    )
    plan = dataclasses.replace(group.plan, max_error=0.05)
    page = view(dataclasses.replace(group, plan=plan, decision=decision))

    assert page.verdict.sentence == sentence
    assert [f.help for f in page.verdict.facts if f.name == "Confidence"] == (
        [] if help is None else [help]
    )


def test_every_state_of_a_group_becomes_a_page():
    assert [view(group).verdict.state.word for group in every_group()] == [
        "Verified",
        "Unverified",
        "Verified",
        "Failed",
        "Agreed",
        "Unverified",
        "Unverified",
        "Unverified",
        "Verified",
        "Agreed",
    ]


def test_a_cascade_shows_what_each_model_came_to_and_whose_answer_is_served():
    page = view(cascade())

    assert [(s.name, s.answer, s.samples, s.votes, s.served) for s in page.stages] == [
        ("First model", "157", 4, "1 of 4", False),
        ("Fallback", "157", 3, "2 of 2", True),
    ]
    assert page.stages[0].policy == "SmolLM2-135M-Instruct on main"
    assert page.stages[0].stop == "Drawing stopped at the cap of 4 samples."
    assert "a text and a program" in page.stages[1].stop
    assert [(row.answer, row.votes) for row in page.tally.rows] == [("157", 2)]
    assert page.tally.silent == ((7, "its program failed (ZeroDivisionError)"),)


def test_a_fallback_of_no_use_is_shown_after_the_answer_that_stands():
    nothing = Decision(status="unverified", winner=None, stop_reason="engine")
    group = cascade().with_decision(nothing).previous_stage().with_degraded("fallback")
    page = view(group)

    assert [(s.name, s.answer, s.served) for s in page.stages] == [
        ("First model", "157", True),
        ("Fallback", "–", False),
    ]
    assert page.degraded == (
        "The fallback was asked and gave nothing better; the first model's answer stands.",
    )
    assert [row.answer for row in page.tally.rows] == ["13", "157", "192", "83"]


def test_one_model_is_no_cascade():
    assert view(split_vote()).stages == ()
    assert {candidate.stage for candidate in view(split_vote()).candidates} == {""}


def test_a_program_is_shown_beside_what_it_printed():
    program = view(cascade()).candidates[5]

    assert (program.kind, program.stage, program.text.text) == ("program", "fallback", "157")
    assert program.raw is not None
    assert "print(4 * 48 - 35)" in program.raw.text
    assert program.marks == ()


def test_the_time_of_a_program_and_of_the_fallback_is_shown():
    steps = {step.name: step.detail for step in view(cascade()).waterfall.steps}

    assert "Ask the fallback" in steps
    assert "run the program 28 ms" in steps["Candidate 6"]


def test_the_plan_names_the_route_and_what_only_a_route_can_ask():
    plan = {fact.name: fact.value for fact in view(cascade()).route.plan}
    default = {fact.name: fact.value for fact in view(split_vote()).route.plan}

    assert (plan["Route"], plan["Stop rule"], plan["Fallback"], plan["Wrong at most"]) == (
        "sums",
        "two kinds",
        "big",
        "5 %",
    )
    assert default["Route"] == "default"
    assert {"Fallback", "Wrong at most", "Reuse"} & default.keys() == set()
