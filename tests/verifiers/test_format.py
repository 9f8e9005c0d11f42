from __future__ import annotations

import time

import pytest

from tests.verifiers.tables import candidate_of, rows
from verifiers.base import Answer, AnswerContract, BadCheck, Check, VerifierSpec, get_verifier


def judge(options, candidate):
    verifier = get_verifier("format")
    prepared = verifier.prepare(options, Check())
    return verifier.verify(prepared, candidate, Answer(kind="none", rule=None))


@pytest.mark.parametrize("row", rows("format"))
def test_a_response_gets_the_verdict_of_the_table(row):
    finding = judge(row["options"], candidate_of(row))

    assert finding.status == row["expect"], finding
    assert "reason" not in row or finding.reason == row["reason"]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tags": []}, "tags"),
        ({"tags": "think"}, "tags"),
        ({"tags": ["think"] * 11}, "tags"),
        ({"tags": ["think", "think"]}, "tags[1]"),
        ({"tags": ["think", "a b"]}, "tags[1]"),
        ({"tags": ["think", 3]}, "tags[1]"),
        ({"min_steps": 0}, "min_steps"),
        ({"min_steps": "3"}, "min_steps"),
        ({"min_steps": True}, "min_steps"),
        ({"min_steps": 1_001}, "min_steps"),
        ({"json_only": 1}, "json_only"),
        ({"json_only": True, "min_steps": 2}, "json_only"),
        ({"json_only": True, "tags": ["answer"]}, "json_only"),
        ({"min_scratchpad": -1}, "min_scratchpad"),
        ({"max_scratchpad": 1.5}, "max_scratchpad"),
        ({"min_scratchpad": 9, "max_scratchpad": 8}, "max_scratchpad"),
    ],
    ids=str,
)
def test_a_form_that_cannot_be_is_refused(options, param):
    with pytest.raises(BadCheck) as refused:
        get_verifier("format").prepare(options, Check())

    assert refused.value.param == param


async def test_a_good_form_earns_nothing_and_a_bad_one_costs_all(runner):
    """A model that learns to write tags must not be paid for them."""
    specs = [
        VerifierSpec(use="format"),
        VerifierSpec(use="number", options={"reference": 4}),
    ]
    panel = await runner.prepare(specs, Check())
    alone = await runner.prepare(specs[:1], Check())
    tagged = candidate_of({"completion": "<think>2 + 2</think><answer>\\boxed{4}</answer>"})
    bare = candidate_of({"completion": "\\boxed{4}"})

    rewards = [
        (await runner.judge(chosen, AnswerContract(), candidate)).reward
        for chosen, candidate in ((alone, tagged), (panel, tagged), (panel, bare))
    ]

    assert rewards == [None, 1.0, 0.0]


@pytest.mark.parametrize(
    "unit",
    ["<think>", "</think>", "<", "1. ", "1.\n", "Step 1\n", "{", '{"a":', "<think>a</think>", "a "],
)
@pytest.mark.parametrize(
    "options",
    [{}, {"min_steps": 3}, {"json_only": True}, {"min_scratchpad": 5}],
    ids=str,
)
def test_no_response_takes_long(unit, options):
    candidate = candidate_of({"completion": (unit * 50_000)[:50_000]})

    started = time.perf_counter()
    judge(options, candidate)

    assert time.perf_counter() - started < 1


def test_a_response_over_the_cap_is_an_error_and_not_a_fail():
    assert judge({}, candidate_of({"completion": "a" * 200_001})).status == "error"
