"""`verivote grade` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.grade import compose_status
from tests.cli.command import verivote
from verifiers.base import Status, Verdict

KEYS = ["id", "status", "score", "reward", "answer", "reason", "ms"]
NUMBER = {"use": "number", "reference": "42"}
STEPS = {"use": "steps"}
LEDGER = {"use": "ledger", "total": "/total", "items": "/items/*/amount"}


def row(name: Any, completion: Any, *verifiers: Any, **more: Any) -> str:
    return json.dumps({"id": name, "completion": completion, "verifiers": verifiers, **more})


def graded(tmp_path: Path, *lines: str | bytes, jobs: int = 2) -> list[dict[str, Any]]:
    given, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_bytes(
        b"\n".join(each if isinstance(each, bytes) else each.encode() for each in lines)
    )
    done = verivote("grade", str(given), "--out", str(out), "--jobs", str(jobs))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_rows_come_back_in_order_in_the_fixed_form(tmp_path):
    lines = [row(i, f"Answer: {i}", NUMBER if i % 2 else LEDGER) for i in range(40)]
    lines[7] = row("right", "Answer: 42", NUMBER, prompt="What is 6 * 7?")

    found = graded(tmp_path, *lines)

    assert [each["id"] for each in found] == [*range(7), "right", *range(8, 40)]
    assert all(list(each) == KEYS for each in found)
    assert found[7] == {
        "id": "right",
        "status": "pass",
        "score": 1.0,
        "reward": 1.0,
        "answer": "42",
        "reason": "equal",
        "ms": found[7]["ms"],
    }
    assert {each["status"] for each in found if each["id"] != "right"} == {"fail"}


def test_a_row_that_cannot_be_graded_is_an_error_and_the_next_one_is_graded(tmp_path):
    bad = [
        "not json",
        "[]",
        "null",
        b"\xff\xfe",
        "[" * 100_000,
        '{"id": "e", "completion": "x"}',
        row("e", None, NUMBER),
        row("e", "x"),
        row("e", "x", {"use": "nubmer"}),
        row("e", "x", {"use": "number", "refrence": 1}),
        row("e", "x", {"reference": 1}),
        row("e", "x", {"use": "json_schema", "schema": {"type": "objekt"}}),
        row("e", "x", NUMBER, prompt=5),
        '{"id": "e", "completion": "x", "verifiers": [{"use": "number", "reference": NaN}]}',
        '{"id": "e", "completion": "x", "verifiers": [{"use": "number", "reference": '
        + "9" * 5_000
        + "}]}",
    ]
    good = row("good", "Answer: 42", NUMBER)

    found = graded(tmp_path, *(line for each in bad for line in (each, good)))

    assert [each["status"] for each in found] == ["error", "pass"] * len(bad)
    for each in found[::2]:
        assert (each["score"], each["reward"], each["answer"]) == (None, None, None)
        assert each["reason"]
    assert {each["id"] for each in found[::2]} == {None, "e"}


def test_status_and_reward_are_composed_over_the_verifiers_of_a_row(tmp_path):
    found = graded(
        tmp_path,
        row(1, "2 + 2 = 5. Answer: 42", NUMBER, STEPS),
        row(2, "2 + 2 = 4. Answer: 42", NUMBER, STEPS),
        row(3, "Answer: 42", {**NUMBER, "weight": 3}, {"use": "number", "reference": 1}),
        row(4, "Answer: 42", {"use": "number"}),
        row(5, "1 + 1 = 2, 1 + 1 = 3", STEPS),
        row(6, "Canberra is nice.", {"use": "judge", "rubric": "Names it."}),
    )

    assert [(f["status"], f["score"], f["reward"], f["reason"]) for f in found] == [
        ("fail", 1.0, 1.0, "steps: wrong_step"),
        ("pass", 1.0, 1.0, "number: equal"),
        ("fail", 0.75, 0.75, "number: different"),
        ("abstain", None, None, "no_reference"),
        ("fail", 0.5, None, "wrong_step"),
        ("error", None, None, "no_judge_model"),
    ]


def test_standard_input_and_output_and_a_word_on_standard_error():
    done = verivote("grade", "-", stdin=row(1, "Answer: 42", NUMBER) + "\n\n")

    assert json.loads(done.stdout)["status"] == "pass"
    assert done.stderr.startswith("1 rows in ")
    assert done.stderr.strip().endswith("1 pass")


def test_no_rows_are_no_failure(tmp_path):
    assert graded(tmp_path, "", "  ") == []


@pytest.mark.parametrize(
    "arguments",
    [("missing.jsonl",), ("in.jsonl", "--out", "no/where.jsonl"), ("in.jsonl", "--jobs", "0"), ()],
)
def test_what_cannot_be_read_or_written_is_a_usage_error(tmp_path, arguments):
    (tmp_path / "in.jsonl").write_text("")

    done = verivote("grade", *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_input_is_never_overwritten(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text(row(1, "Answer: 42", NUMBER))

    done = verivote("grade", str(file), "--out", str(file))

    assert (done.returncode, file.read_text()) == (2, row(1, "Answer: 42", NUMBER))


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (["gate pass"], "pass"),
        (["gate fail", "outcome pass"], "fail"),
        (["gate fail", "outcome error"], "error"),
        (["policy abstain", "outcome pass"], "abstain"),
        (["process abstain", "outcome pass"], "pass"),
        (["gate pass", "outcome abstain"], "abstain"),
        (["judge fail", "outcome pass"], "pass"),
        (["judge error", "outcome pass"], "pass"),
        (["judge fail", "gate pass"], "fail"),
        (["judge pass", "gate pass"], "pass"),
    ],
)
def test_one_status_for_several_verdicts(said, status):
    verdicts = [
        Verdict(
            verifier=role,
            version="1",
            config_hash="",
            role=role,
            decisive=False,
            status=Status(word),
        )
        for role, word in map(str.split, said)
    ]

    assert compose_status(verdicts) == status
