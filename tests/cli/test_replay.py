"""`verivote replay` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.command import verivote
from tests.replay.recorded import a_row, lines_of, questions, write

KEYS = [
    "dataset",
    "model",
    "questions",
    "accuracy",
    "samples",
    "rounds",
    "tokens",
    "ece",
    "brier",
]


def replayed(folder: Path, *arguments: str) -> dict[str, object]:
    out = folder / "out.json"
    done = verivote("replay", str(folder), "--json", str(out), *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


@pytest.fixture
def folder(tmp_path):
    """Two groups, one of them with enough questions for a confidence."""
    write(tmp_path, questions(240))
    other = lines_of([a_row(["1"] * 4, tokens=5)] * 3).replace('"small"', '"large"')
    (tmp_path / "samples_other.jsonl").write_text(other)
    return tmp_path


def test_the_json_has_the_fixed_form(folder):
    large, small = replayed(folder, "--orders", "2")["groups"]

    assert list(large)[: len(KEYS)] == list(small)[: len(KEYS)] == KEYS
    assert {key: large[key] for key in KEYS} == {
        "dataset": "sums",
        "model": "large",
        "questions": 3,
        "accuracy": 1.0,
        "samples": 3.0,
        "rounds": 1.0,
        "tokens": 15.0,
        "ece": None,
        "brier": None,
    }
    assert small["questions"] == 240
    assert 0 < small["accuracy"] < 1
    assert small["tokens"] is None
    assert 0 < small["ece"] < 0.2
    assert 0 < small["brier"] < small["brier_of_a_constant"]


def test_the_numbers_do_not_depend_on_how_many_processes_there_are(folder):
    one = replayed(folder, "--orders", "2", "--jobs", "1", "--against", "esc")
    two = replayed(folder, "--orders", "2", "--jobs", "2", "--against", "esc")

    assert one == two


def test_the_table_goes_to_standard_output_and_nothing_else_does(folder):
    done = verivote("replay", str(folder), "--orders", "1", "--jobs", "1", "--cap", "2")

    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert {len(row) for row in rows} == {10}
    assert [row[:4] for row in rows] == [
        ["dataset", "model", "questions", "cap"],
        ["sums", "large", "3", "2"],
        ["sums", "small", "240", "2"],
        ["mean", "2 groups", "243", ""],
    ]


def test_what_a_comparison_adds_has_headings_too(folder):
    options = ["--orders", "1", "--jobs", "1", "--against", "fixed"]
    done = verivote("replay", str(folder), *options)

    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0][-2:] == ["Δ accuracy", "Δ samples"]
    assert {len(row) for row in rows} == {12}


def test_a_rule_is_compared_with_another_on_the_same_orders(folder):
    found = replayed(folder, "--orders", "2", "--rule", "margin", "--against", "fixed")

    large, small = found["groups"]
    assert found["against"] == "fixed"
    assert large["difference"] == {
        "accuracy": 0.0,
        "accuracy_interval": [0.0, 0.0],
        "samples": -1.0,
        "samples_interval": [-1.0, -1.0],
    }
    assert small["difference"]["samples"] < -4
    assert found["mean"]["difference"]["samples"] == pytest.approx(
        (large["difference"]["samples"] + small["difference"]["samples"]) / 2
    )


def test_the_reliability_is_drawn_for_groups_with_a_confidence(folder):
    drawn = folder / "reliability.svg"

    replayed(folder, "--orders", "1", "--plot", str(drawn))

    text = " ".join(ElementTree.parse(drawn).getroot().itertext())
    assert "sums / small" in text
    assert "sums / large" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rule", "majority"], "--rule is 'majority'; known: margin, two_kinds"),
        (["--against", "no"], "--against is 'no'"),
        (["--scorer", "luck"], "--scorer is 'luck'; known: length, logprob, verifiers"),
        (["--cap", "0"], "--cap"),
        (["--orders", "0"], "--orders"),
        (["--json", "/nowhere/out.json"], "'/nowhere/out.json' cannot be written"),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_names_it(folder, arguments, said):
    done = verivote("replay", str(folder), "--orders", "1", "--jobs", "1", *arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_row_that_cannot_be_read_ends_it_with_its_place(folder):
    file = folder / "samples_bad.jsonl"
    file.write_text(lines_of([a_row(["1"])]) + '{"dataset": "d"}\n')

    done = verivote("replay", str(folder))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"verivote: {file}:2: 'model': Field required\n"


def test_files_without_rows_are_a_usage_error(tmp_path):
    (tmp_path / "samples_none.jsonl").write_text("\n")

    done = verivote("replay", str(tmp_path))

    assert (done.returncode, done.stderr) == (2, "verivote: the files named hold no rows\n")
