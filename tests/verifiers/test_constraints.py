from __future__ import annotations

import re
import time

import pytest

from tests.parts import ROOT
from tests.verifiers.tables import candidate_of, rows
from verifiers.base import (
    Answer,
    AnswerContract,
    BadCheck,
    Check,
    VerifierSpec,
    detect_specs,
    get_verifier,
)
from verifiers.kinds.constraint_checks.instruction import (
    _KNOWN,
    known_ids,
    read_instruction,
)
from verifiers.kinds.constraint_checks.prompt import find_constraints

CASES = rows("constraints")
PAGE = (ROOT / "docs/verifiers.md").read_text(encoding="utf-8")


def judge(options, candidate):
    verifier = get_verifier("constraints")
    prepared = verifier.prepare(options, Check())
    return verifier.verify(prepared, candidate, Answer(kind="none", rule=None))


@pytest.mark.parametrize("row", CASES)
def test_a_response_gets_the_verdict_of_the_table(row):
    finding = judge(row["options"], candidate_of(row))

    assert finding.status == row["expect"], finding
    assert "reason" not in row or finding.reason == row["reason"]


def test_every_instruction_has_a_case_that_passes_and_one_that_fails():
    seen: dict[str, set[str]] = {}
    for case in CASES:
        (row,) = case.values
        listed = row["options"]["instructions"]
        if len(listed) == 1:
            seen.setdefault(listed[0]["id"], set()).add(row["expect"])

    assert [id for id in known_ids() if not {"pass", "fail"} <= seen.get(id, set())] == []


def test_every_instruction_is_documented():
    section = PAGE.partition("\n**constraints.**")[2].partition("\n**")[0]
    told = set(re.findall(r"`([a-z_]+:[a-z_-]+)`", section))

    assert told == set(known_ids())


def test_the_score_is_the_share_of_instructions_kept():
    options = {
        "instructions": [
            {"id": "punctuation:no_comma"},
            {"id": "change_case:english_lowercase"},
            {"id": "keywords:existence", "keywords": ["Rome"]},
            {"id": "startend:quotation"},
        ]
    }

    finding = judge(options, candidate_of({"completion": "rome is old"}))

    assert (finding.status, finding.score) == ("fail", 0.75)
    assert finding.evidence["broken"] == ["startend:quotation"]


def test_a_response_over_the_cap_is_an_error_and_not_a_fail():
    options = {"instructions": [{"id": "punctuation:no_comma"}]}

    finding = judge(options, candidate_of({"completion": "a " * 150_000}))

    assert (finding.status, finding.reason) == ("error", "too_long")


NUMBER_WORDS = {"id": "length_constraints:number_words", "num_words": 3, "relation": "at least"}


@pytest.mark.parametrize(
    ("options", "param", "said"),
    [
        ({}, "instructions", "list"),
        ({"instructions": []}, "instructions", "list"),
        ({"instructions": "punctuation:no_comma"}, "instructions", "list"),
        ({"instructions": [NUMBER_WORDS] * 51}, "instructions", "50"),
        ({"instructions": ["punctuation:no_comma"]}, "instructions[0]", "object"),
        (
            {"instructions": [NUMBER_WORDS, {"id": "length_constraint:number_word"}]},
            "instructions[1].id",
            "did you mean 'length_constraints:number_words'",
        ),
        ({"instructions": [{}]}, "instructions[0].id", "unknown"),
        (
            {"instructions": [{**NUMBER_WORDS, "num_words": None}]},
            "instructions[0].num_words",
            "needs num_words",
        ),
        (
            {"instructions": [{**NUMBER_WORDS, "num_words": 2.5}]},
            "instructions[0].num_words",
            "whole number",
        ),
        ({"instructions": [{**NUMBER_WORDS, "num_words": True}]}, "instructions[0].num_words", ""),
        (
            {"instructions": [{**NUMBER_WORDS, "num_words": float("inf")}]},
            "instructions[0].num_words",
            "",
        ),
        (
            {"instructions": [{**NUMBER_WORDS, "num_words": float("nan")}]},
            "instructions[0].num_words",
            "",
        ),
        ({"instructions": [{**NUMBER_WORDS, "num_words": -1}]}, "instructions[0].num_words", ""),
        (
            {"instructions": [{**NUMBER_WORDS, "relation": "about"}]},
            "instructions[0].relation",
            "at least",
        ),
        (
            {"instructions": [{**NUMBER_WORDS, "nun_words": 3}]},
            "instructions[0].nun_words",
            "num_words",
        ),
        (
            {"instructions": [{**NUMBER_WORDS, "kwargs": [3]}]},
            "instructions[0].kwargs",
            "object",
        ),
        (
            {"instructions": [{"id": "keywords:existence", "keywords": "mom"}]},
            "instructions[0].keywords",
            "list",
        ),
        (
            {"instructions": [{"id": "keywords:existence", "keywords": ["mom", " "]}]},
            "instructions[0].keywords",
            "",
        ),
        (
            {"instructions": [{"id": "language:response_language", "language": "tlh"}]},
            "instructions[0].language",
            "one of",
        ),
        (
            {
                "instructions": [
                    {
                        "id": "keywords:letter_frequency",
                        "letter": "ab",
                        "let_frequency": 1,
                        "let_relation": "at least",
                    }
                ]
            },
            "instructions[0].letter",
            "one character",
        ),
        ({"instructions": [NUMBER_WORDS], "decisive": 1}, "decisive", "true or false"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_instructions_that_cannot_be_used_are_refused_with_their_place(options, param, said):
    with pytest.raises(BadCheck) as refused:
        get_verifier("constraints").prepare(options, Check())

    assert refused.value.param == param
    assert said in refused.value.message


def test_asked_for_by_name_it_is_proof_of_the_form():
    verifier = get_verifier("constraints")

    assert verifier.prepare({"instructions": [NUMBER_WORDS]}, Check()).decisive
    assert not verifier.prepare(
        {"instructions": [NUMBER_WORDS], "decisive": False}, Check()
    ).decisive


async def test_it_runs_in_a_worker_and_judges_as_the_table_says(runner):
    spec = VerifierSpec(use="constraints", options={"instructions": [NUMBER_WORDS]})
    panel = await runner.prepare([spec], Check())

    judged = [
        await runner.judge(panel, AnswerContract(), candidate_of({"completion": text}))
        for text in ("one two three", "one")
    ]

    assert panel.decisive
    assert [verdict.status for one in judged for verdict in one.verdicts] == ["pass", "fail"]


@pytest.mark.parametrize("row", rows("constraint_prompts"))
def test_only_what_a_prompt_commands_is_found_in_it(row):
    assert find_constraints(row["prompt"]) == row["found"]


def test_constraints_of_a_prompt_refute_and_do_not_prove():
    prompt = "Write about Rome. Your response should contain at least 20 words."
    (spec,) = detect_specs(Check(prompt=prompt))

    prepared = get_verifier("constraints").prepare(spec.options, Check(prompt=prompt))

    assert (spec.use, prepared.decisive) == ("constraints", False)


@pytest.mark.parametrize(
    "check",
    [
        {"system": "Always answer in one short sentence."},
        {"system": "Use markdown."},
        {"response_format": {"type": "text"}},
        {"tools": ({"type": "function", "function": {"name": "now"}},)},
    ],
    ids=str,
)
def test_a_request_with_a_form_of_its_own_gets_no_constraints_from_its_prompt(check):
    prompt = "Write about Rome. Your response should contain at least 20 words."

    specs = detect_specs(Check(prompt=prompt, **check))

    assert "constraints" not in {spec.use for spec in specs}


HEAVY = tuple(
    (unit * 20_000)[:20_000]
    for unit in (
        *("a", "a ", "* ", "*", "\n", "* a\n", "[", "<<", "<i>", '"', "'\"", ". ", ".", "?!", "😀"),
        *("My Answer:", "Question 1:\n", "é", "SECTION 1 ", "-\n", " ", "1,", "P.", "``", "a. A"),
    )
)
ARGUMENTS = {
    "keywords": ["a a", "mom"],
    "forbidden_words": ["mom"],
    "keyword": "a",
    "word": "a",
    "frequency": 5,
    "letter": "a",
    "let_frequency": 5,
    "language": "de",
    "relation": "at least",
    "let_relation": "at least",
    "capital_relation": "at least",
    "postscript_marker": "P.P.S",
    "section_spliter": "SECTION",
    "end_phrase": "bye",
    "first_word": "a",
    "sep": "-",
    "options": "yes/no",
    "prompt_to_repeat": "a b c",
    "reference_text": "a b c d",
    "percentage": 5,
}


@pytest.mark.parametrize("id", known_ids())
def test_no_text_under_the_cap_takes_long(id):
    """Every checker is near linear: a quadratic one would need minutes for these."""
    found, given = read_instruction({"id": id, **example_arguments(id)})

    started = time.perf_counter()
    for text in HEAVY:
        found.check(text, **given)

    assert time.perf_counter() - started < 0.3 * len(HEAVY)


def example_arguments(id):
    names = _KNOWN[id].arguments
    return {name: ARGUMENTS.get(name, "a" if "keyword" in name else 3) for name in names}


@pytest.mark.parametrize(
    "cue",
    [
        "two different responses ",
        "your answer must contain at least 3 ",
        "include keywords 'a' and ",
        "'a' and ",
        "do not use any commas ",
        "the word x must appear at least ",
        "  \t  words",
        "following ",
    ],
)
def test_no_prompt_holds_up_the_event_loop(cue):
    prompt = ("words " + cue * 2_000)[:2_000]

    started = time.perf_counter()
    find_constraints(prompt)

    assert time.perf_counter() - started < 0.05
