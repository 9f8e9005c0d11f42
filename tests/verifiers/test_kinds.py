from __future__ import annotations

import math

import pytest

from tests.verifiers.tables import candidate_of, rows
from verifiers.base import BadCheck, Check, VerifierSpec, detect_specs, known_verifiers

shared_loop = pytest.mark.asyncio(loop_scope="module")

TABLES = [row for kind in ("number", "choice", "text", "calculator") for row in rows(kind)]


async def judge(runner, row, check):
    spec = VerifierSpec(use=row["use"], options=row["options"], param="verify.verifiers[0]")
    panel = await runner.prepare([spec], check)
    judged = await runner.judge(panel, panel.contract, candidate_of(row))
    (verdict,) = judged.verdicts
    return panel, judged, verdict


@shared_loop
@pytest.mark.parametrize("row", [*TABLES, *rows("json_schema")])
async def test_a_candidate_gets_the_verdict_of_the_table(workers, row):
    _, _, verdict = await judge(workers, row, Check(prompt=row.get("prompt", "")))

    assert verdict.status == row["expect"], verdict
    assert "reason" not in row or verdict.reason == row["reason"]


@shared_loop
@pytest.mark.parametrize("use", ["number", "choice", "text"])
async def test_without_a_reference_nothing_is_proven(workers, use):
    row = {"use": use, "options": {}, "completion": "Answer: 5" if use == "number" else "A"}

    panel, judged, verdict = await judge(workers, row, Check())

    assert (panel.decisive, verdict.status, judged.reward) == (False, "abstain", None)
    assert judged.answer.key is not None


@pytest.mark.parametrize(
    ("use", "options", "param"),
    [
        ("number", {"reference": "many"}, "reference"),
        ("number", {"reference": True}, "reference"),
        ("number", {"reference": [1]}, "reference"),
        ("number", {"reference": 1, "tolerance": "-1"}, "tolerance"),
        ("number", {"reference": 1, "tolerance": None}, "tolerance"),
        ("number", {"tolerance": 1}, "tolerance"),
        ("number", {"refernce": 1}, "refernce"),
        ("number", {"weight": 0}, "weight"),
        ("number", {"weight": "2"}, "weight"),
        ("choice", {"reference": "K"}, "reference"),
        ("choice", {"reference": 1}, "reference"),
        ("choice", {"choices": "AB"}, "choices"),
        ("choice", {"choices": ["A", 1]}, "choices[1]"),
        ("choice", {"choices": ["a", "A"]}, "choices"),
        ("text", {"reference": 5}, "reference"),
        ("text", {"reference": []}, "reference"),
        ("text", {"reference": ["x", "..."]}, "reference"),
        ("text", {"reference": "сanberra"}, "reference"),
        ("calculator", {}, "expression"),
        ("calculator", {"expression": "two plus two"}, "expression"),
        ("calculator", {"expression": 4}, "expression"),
        ("json_schema", {}, "schema"),
        ("json_schema", {"schema": "object"}, "schema"),
        ("json_schema", {"schema": True, "resources": ["urn:a"]}, "resources"),
        ("json_schema", {"schema": True, "resources": {"a": {}}}, "resources"),
        ("json_schema", {"schema": True, "resources": {"urn:a": 5}}, "resources"),
        ("json_schema", {"schema": {"$ref": "urn:b"}, "resources": {"urn:a": {}}}, "schema"),
        ("json_schema", {"schema": {"type": "objekt"}}, "schema"),
        ("json_schema", {"schema": {"pattern": "("}}, "schema"),
        ("json_schema", {"schema": {"pattern": "(?=a)b"}}, "schema"),
        ("json_schema", {"schema": {"pattern": "((a{1000}){1000}){1000}"}}, "schema"),
        ("json_schema", {"schema": {"$ref": "#/$defs/none"}}, "schema"),
        ("json_schema", {"schema": {"$ref": "http://127.0.0.1:9/schema"}}, "schema"),
        ("json_schema", {"schema": {"$ref": "file:///etc/passwd"}}, "schema"),
        ("json_schema", {"schema": {"$schema": "http://example.org/own"}}, "schema"),
        ("json_schema", {"schema": {"description": "x" * 300_000}}, "schema"),
        ("nubmer", {}, "use"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_a_bad_option_is_refused_with_its_full_path(runner, use, options, param):
    spec = VerifierSpec(use=use, options=options, param="verify.verifiers[1]")

    with pytest.raises(BadCheck) as refused:
        await runner.prepare([spec], Check(prompt="Hi"))

    assert refused.value.param == ".".join(filter(None, ("verify.verifiers[1]", param)))
    assert 0 < len(refused.value.message) < 600


@pytest.mark.parametrize(
    "value", [10**5000, math.inf, math.nan, {1, 2}], ids=lambda v: type(v).__name__
)
async def test_an_option_that_is_no_json_is_refused(runner, value):
    spec = VerifierSpec(use="number", options={"reference": value}, param="v[0]")

    with pytest.raises(BadCheck, match="options must be JSON"):
        await runner.prepare([spec], Check())


async def test_an_unknown_option_names_the_nearest_known_one(runner):
    spec = VerifierSpec(use="number", options={"refrence": 1})

    with pytest.raises(BadCheck, match="did you mean 'reference'"):
        await runner.prepare([spec], Check())


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"pattern": "(?!a)"}, "object", {"$ref": "http://127.0.0.1:9/"}]
)
async def test_a_bad_schema_of_the_request_is_named_where_it_stands(runner, schema):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    check = Check(response_format=wanted)

    with pytest.raises(BadCheck) as refused:
        await runner.prepare(detect_specs(check), check)

    assert refused.value.param == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ([{"type": "function", "function": {}}], None, "tools[0].function.name"),
        (
            [{"type": "function", "function": {"name": "f", "parameters": {"type": "x"}}}],
            None,
            "tools[0].function.parameters",
        ),
        ([{"type": "function", "function": {"name": "f"}}], "sometimes", "tool_choice"),
        (
            [{"type": "function", "function": {"name": "f"}}],
            {"type": "function", "function": {"name": "g"}},
            "tool_choice",
        ),
    ],
)
async def test_bad_tools_are_named_where_they_stand(runner, tools, choice, param):
    check = Check(tools=tuple(tools), tool_choice=choice)

    with pytest.raises(BadCheck) as refused:
        await runner.prepare(detect_specs(check), check)

    assert refused.value.param == param


TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "get_order",
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "integer"}},
                "required": ["id"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
    {"type": "custom", "custom": {"name": "shell"}},
)


@shared_loop
@pytest.mark.parametrize("row", rows("tool_calls"))
async def test_tool_calls_are_checked_against_what_the_request_allows(workers, row):
    check = Check(
        tools=TOOLS,
        tool_choice=row.get("choice"),
        parallel_tool_calls=row.get("parallel", True),
    )
    panel = await workers.prepare(detect_specs(check), check)

    judged = await workers.judge(panel, panel.contract, candidate_of(row))

    (verdict,) = judged.verdicts
    assert (verdict.status, verdict.reason) == (row["expect"], row["reason"])
    assert (panel.contract.kind, panel.decisive) == ("tool_calls", False)


JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("check", "attached"),
    [
        (Check(prompt="What is 7 + 5?"), {"calculator": {"expression": "7 + 5"}}),
        (Check(prompt="What is 7 + 5?", system="You are helpful."), {"calculator": ...}),
        (Check(prompt="What is 7 + 5?", system="Answer in binary."), {}),
        (Check(prompt="What is 7 + 5?", system="Always give the wrong answer."), {}),
        (Check(prompt="What is 7 + 5?", response_format={"type": "text"}), {"calculator": ...}),
        (Check(prompt="What is 7 + 5?", tools=TOOLS), {"tool_calls": {}}),
        (
            Check(prompt="What is 7 + 5?", response_format=JSON_SCHEMA),
            {"json_schema": {"schema": {"type": "object"}}},
        ),
        (
            Check(response_format={"type": "json_object"}),
            {"json_schema": {"schema": {"type": "object"}}},
        ),
        (
            Check(response_format={"type": "json_schema", "json_schema": {"name": "any"}}),
            {"json_schema": {"schema": True}},
        ),
        (Check(prompt="Hi!"), {}),
        (Check(prompt="Tom has 3 apples and buys 4 more. How many has he?"), {}),
        (Check(prompt="Pick one: (A) walk (B) drive"), {}),
    ],
    ids=lambda value: ascii(getattr(value, "prompt", value))[:40],
)
def test_verifiers_are_attached_only_where_the_request_says_how(check, attached):
    specs = detect_specs(check)

    found = {spec.use: spec.options for spec in specs}
    assert found.keys() == attached.keys()
    assert all(found[use] == options for use, options in attached.items() if options is not ...)
    assert {spec.source for spec in specs} <= {"auto"}


async def test_a_lookup_of_remote_schemas_reaches_nobody(runner):
    """Even a schema that is accepted may not fetch: the meta-schema is known, nothing else is."""
    spec = VerifierSpec(
        use="json_schema",
        options={"schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"}},
    )
    panel = await runner.prepare([spec], Check())

    judged = await runner.judge(panel, panel.contract, candidate_of({"completion": '{"type":1}'}))

    assert judged.verdicts[0].status == "fail"


def test_every_kind_says_what_its_options_mean():
    for verifier in known_verifiers():
        assert all(len(text) > 10 for text in verifier.options.values()) or (
            type(verifier).__module__.startswith("tests.")
        )
        assert verifier.version
