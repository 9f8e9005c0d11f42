"""`json_equal` and `ledger`: what they find in JSON documents."""

from __future__ import annotations

import json

import pytest

from tests.verifiers.tables import candidate_of, rows
from verifiers.base import BadCheck, Candidate, Check, VerifierSpec
from verifiers.run import Runner

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDS_UP = '{"items":[{"amount":1}],"total":1}'


async def judge(runner: Runner, use: str, options: dict, candidate: Candidate):
    spec = VerifierSpec(use=use, options=options, param="verify.verifiers[0]")
    panel = await runner.prepare([spec], Check())
    judged = await runner.judge(panel, panel.contract, candidate)
    return panel, judged, judged.verdicts[0]


@pytest.mark.parametrize("row", [*rows("json_equal"), *rows("ledger")])
async def test_a_document_gets_the_verdict_of_the_table(workers, row):
    _, _, verdict = await judge(workers, row["use"], row["options"], candidate_of(row))

    assert verdict.status == row["expect"], verdict
    assert "reason" not in row or verdict.reason == row["reason"]


@pytest.mark.parametrize(
    ("use", "options", "param"),
    [
        ("json_equal", {"reference": "{'a': 1}"}, "reference"),
        ("json_equal", {"reference": '{"a": 1, "a": 2}'}, "reference"),
        ("json_equal", {"reference": 1, "numbers": "float"}, "numbers"),
        ("json_equal", {"reference": 1, "tolerance": -1}, "tolerance"),
        ("json_equal", {"reference": 1, "tolerance": True}, "tolerance"),
        ("json_equal", {"reference": 1, "unordered": "/a"}, "unordered"),
        ("json_equal", {"reference": 1, "ignore": ["a"]}, "ignore[0]"),
        ("json_equal", {"reference": 1, "ignore": [""]}, "ignore"),
        ("json_equal", {"tolerance": 1}, "tolerance"),
        ("ledger", {}, "items"),
        ("ledger", {"items": "/items/*/amount"}, "total"),
        ("ledger", {"items": "items", "total": "/total"}, "items"),
        ("ledger", {"items": [], "total": "/total"}, "items"),
        ("ledger", {"items": "/i/*", "total": "/t/*"}, "total"),
        ("ledger", {"items": "/i/*", "total": "/t", "sign": "plus"}, "sign"),
        ("ledger", {"items": "/i/*", "total": "/t", "count": [3, 1]}, "count"),
        ("ledger", {"items": "/i/*", "total": "/t", "count": 1.5}, "count"),
        ("ledger", {"items": "/i/*", "total": "/t", "tolerance": "-1"}, "tolerance"),
        ("ledger", {"items": "/i/*", "total": "/t", "text_amounts": 1}, "text_amounts"),
        ("ledger", {"items": "/i/*", "total": "/t", "expected_items": ["x"]}, "expected_items[0]"),
        ("ledger", {"items": "/i/*", "expected_total": 4}, "total"),
        ("ledger", {"debits": "/d/*"}, "credits"),
        ("ledger", {"cells": "/r/*", "total": "/t"}, "cells"),
        ("ledger", {"cells": "/r/*/*"}, "cells"),
        ("ledger", {"items": "/i/*", "total": "/t", "row_totals": "/r/*"}, "cells"),
    ],
    ids=lambda value: ascii(value)[:60],
)
async def test_an_option_that_cannot_be_used_is_refused_by_name(workers, use, options, param):
    spec = VerifierSpec(use=use, options=options, param="v[0]")

    with pytest.raises(BadCheck) as refused:
        await workers.prepare([spec], Check())

    assert refused.value.param == f"v[0].{param}"


@pytest.mark.parametrize(
    ("options", "decisive"),
    [({}, False), ({"expected_items": [1]}, True), ({"expected_total": 1}, True)],
)
async def test_a_sum_that_fits_itself_proves_nothing(workers, options, decisive):
    """A made-up document adds up too; only known amounts make it proof."""
    options = {"total": "/total", "items": "/items/*/amount", **options}

    panel, judged, verdict = await judge(workers, "ledger", options, Candidate(text=ADDS_UP))

    assert (verdict.status, panel.decisive, judged.reward) == ("pass", decisive, 1.0)


async def test_equal_documents_are_one_vote_with_or_without_a_fence(workers):
    options = {"reference": {"a": 1}}
    texts = ('{"a":1.0}', '```json\n{"a": 1}\n```', '<think>…</think>{"a": 1}')

    found = [await judge(workers, "json_equal", options, Candidate(text=text)) for text in texts]

    assert {judged.answer.key for _, judged, _ in found} == {'{"a":1}'}
    assert [judged.answer.rule for _, judged, _ in found] == ["whole", "lone_fence", "whole"]


async def test_the_first_difference_is_named(workers):
    options = {"reference": {"items": [{"n": 1}, {"n": 2}]}}
    text = json.dumps({"items": [{"n": 1}, {"n": 3}]})

    _, _, verdict = await judge(workers, "json_equal", options, Candidate(text=text))

    assert verdict.evidence == {
        "rule": "whole",
        "path": "/items/1/n",
        "expected": "2",
        "got": "3",
    }


async def test_a_large_unordered_array_is_compared_within_the_deadline(workers):
    options = {"reference": list(range(400)), "unordered": True}
    text = json.dumps(list(reversed(range(400))))

    _, _, verdict = await judge(workers, "json_equal", options, Candidate(text=text))

    assert verdict.status == "pass"
