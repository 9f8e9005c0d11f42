from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.parts import ROOT
from verifiers.base import AnswerContract, BadCheck, Candidate, Check, Decided, VerifierSpec
from verifiers.run import Runner

LINES = (ROOT / "tests/cases/grounding.jsonl").read_text(encoding="utf-8").splitlines()
CASES = [pytest.param(row, id=ascii(row["completion"])[1:60]) for row in map(json.loads, LINES)]
NOTES = "Refunds take 5 days. Shipping is free."


async def judge(text: str, check: Check | None = None, ask=None, **options: object):
    runner = Runner(ask=ask)
    spec = VerifierSpec(use="grounding", options=options, param="v")
    panel = await runner.prepare([spec], check or Check(prompt="How long does it take?"))
    judged = await runner.judge(panel, AnswerContract(), Candidate(text=text))
    await runner.close()
    return panel, judged.verdicts[0]


@pytest.mark.parametrize("row", CASES)
async def test_claims_are_held_against_the_notes(row):
    panel, verdict = await judge(row["completion"], notes=row["notes"])

    assert verdict.status == row["expect"], verdict
    assert "reason" not in row or verdict.reason == row["reason"]
    assert not panel.decisive


async def test_the_claim_that_is_not_supported_is_named():
    _, verdict = await judge("Shipping is free. Refunds take 9 days.", notes=NOTES)

    assert verdict.score == 0.5
    assert verdict.evidence["faults"] == [
        {"claim": "Refunds take 9 days.", "why": "number", "missing": "9 day"}
    ]


async def test_the_system_message_holds_the_notes_where_none_are_given():
    _, verdict = await judge("Refunds take 9 days.", Check(system=NOTES))

    assert verdict.status == "fail"


async def test_a_name_of_the_question_may_be_repeated_and_a_number_may_not():
    check = Check(prompt="I am Zoe and I think refunds take 9 days?")

    _, named = await judge("Hello Zoe. Refunds for Zoe take 5 days.", check, notes=NOTES)
    _, agreed = await judge("Yes, refunds take 9 days.", check, notes=NOTES)

    assert (named.status, agreed.status) == ("pass", "fail")


def says(*words: str):
    async def ask(messages, *, schema, max_tokens):
        ids = schema["properties"]["claims"]["items"]["properties"]["id"]["enum"]
        entries = [
            {"id": i, "reasons": "r", "verdict": w} for i, w in zip(ids, words, strict=False)
        ]
        return json.dumps({"claims": entries})

    return ask


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["supported", "supported"], "pass", "supported"),
        (["supported", "contradicted"], "fail", "unsupported_contradicted"),
        (["not_supported", "supported"], "fail", "unsupported_not_supported"),
        (["supported"], "error", "bad_judge_reply"),
        (["supported", "perhaps"], "error", "bad_judge_reply"),
    ],
)
async def test_a_judge_may_take_support_away(words, status, reason):
    text = "Shipping is free. Refunds take 5 days."

    _, verdict = await judge(text, ask=says(*words), notes=NOTES, judge=True)

    assert (verdict.status, verdict.reason) == (status, reason)


async def test_a_verdict_goes_with_its_claim_in_whatever_order_they_come():
    async def ask(messages, *, schema, max_tokens):
        said = [("c2", "contradicted"), ("c1", "supported")]
        return json.dumps({"claims": [{"id": i, "reasons": "r", "verdict": w} for i, w in said]})

    text = "Shipping is free. Refunds take 5 days."

    _, verdict = await judge(text, ask=ask, notes=NOTES, judge=True)

    assert [fault["claim"] for fault in verdict.evidence["faults"]] == ["Refunds take 5 days."]


class Labels:
    """A model whose answers are read off its labels."""

    def __init__(self, words: Sequence[str], confidence: float = 0.9) -> None:
        self.words, self.confidence = words, confidence

    async def __call__(self, messages, *, schema, max_tokens):
        return await says(*["contradicted"] * 2)(messages, schema=schema, max_tokens=max_tokens)

    async def decide(self, material, questions):
        assert "Refunds take 5 days." in material
        return [Decided(word=word, confidence=self.confidence) for word in self.words]


@pytest.mark.parametrize(
    ("model", "status"),
    [
        (Labels(["supported", "supported"]), "pass"),
        (Labels(["supported", "not_supported"]), "fail"),
        (Labels(["supported", "supported"], confidence=0.4), "fail"),
        (Labels(["supported", "supported"], confidence=float("nan")), "fail"),
        (Labels(["supported", "perhaps"]), "fail"),
        (Labels(["supported"]), "fail"),
    ],
)
async def test_claims_are_judged_by_labels_only_where_every_one_is_sure(model, status):
    """Otherwise in words; here those say the contrary."""
    text = "Shipping is free. Refunds take 5 days."

    _, verdict = await judge(text, ask=model, notes=NOTES, judge=True)

    assert verdict.status == status


async def test_a_judge_cannot_give_support_that_the_words_deny():
    _, verdict = await judge("Refunds take 9 days.", ask=says("supported"), notes=NOTES, judge=True)

    assert verdict.status == "fail"


async def test_without_a_model_a_judge_cannot_be_asked():
    _, verdict = await judge("Refunds take 5 days.", notes=NOTES, judge=True)

    assert (verdict.status, verdict.reason) == ("error", "no_judge_model")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({}, "notes"),
        ({"notes": []}, "notes"),
        ({"notes": ["a", ""]}, "notes[1]"),
        ({"notes": "x" * 60_000}, "notes"),
        ({"notes": "x", "overlap": 2}, "overlap"),
        ({"notes": "x", "judge": "yes"}, "judge"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_an_option_that_cannot_be_used_is_refused_by_name(options, param):
    with pytest.raises(BadCheck) as refused:
        await judge("x", **options)

    assert refused.value.param == f"v.{param}"
