"""`verivote evaluate` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command import verivote
from tests.cli.upstreams import fake_upstream


def a_file(folder: Path) -> str:
    """`scripted` says 4, 5, 4, 4 in turn."""
    file = folder / "prompts.jsonl"
    row = {"verifiers": [{"use": "number", "reference": "4"}]}
    rows = [row | {"prompt": f"What is {n} + {4 - n}?", "slice": f"s{n % 2}"} for n in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_it_says_how_often_the_model_is_right_and_how_sure_that_is(tmp_path):
    with fake_upstream("scripted") as url:
        known = ("--upstream", url, "--data", str(tmp_path / "data"), "--k", "4", "--json")
        done = verivote("evaluate", "--file", a_file(tmp_path), *known)

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert {key: told[key] for key in ("prompts", "answered", "judged", "k")} == {
        "prompts": 4,
        "answered": 4,
        "judged": 4,
        "k": 4,
    }
    metrics = {each["metric"]: each for each in told["metrics"]}
    assert metrics["pass_at_1"]["mean"] == 0.75
    assert metrics["verified"]["mean"] == 1.0
    assert 0 <= metrics["greedy"]["low"] <= metrics["greedy"]["mean"] <= metrics["greedy"]["high"]
    assert [each["slice"] for each in told["slices"]] == ["s0", "s1"]
    assert not (tmp_path / "data" / "verivote.db").exists()


def test_without_json_it_prints_a_table(tmp_path):
    with fake_upstream("scripted") as url:
        known = ("--upstream", url, "--data", str(tmp_path), "--k", "4")
        done = verivote("evaluate", "--file", a_file(tmp_path), "--policy", "m7", *known)

    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "pass_at_1\t0.750\t0.750\t0.750\t4"
    assert done.stderr == "m7: 4 of 4 prompts were judged, 4 samples each\n"


def test_what_cannot_be_done_is_one_line_that_names_it(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    known = ("--upstream", "http://127.0.0.1:9/v1", "--data", str(tmp_path / "data"))
    config = tmp_path / "own.toml"
    config.write_text('[engines.main]\nkind = "vllm"\nmodel = "some/model"\n')
    cases = [
        ((*known, "--file", str(empty)), 2, f"{empty} holds no prompt"),
        ((*known, "--file", str(empty), "--public"), 2, "give --file or --public, not both"),
        (known, 3, "there are no traces yet"),
        ((*known, "--file", a_file(tmp_path)), 3, "engine 'main' does not answer"),
        (("--config", str(config), "--public"), 2, "engines.main is a vLLM that only its gateway"),
    ]

    for arguments, code, said in cases:
        done = verivote("evaluate", *arguments)

        assert done.returncode == code, done
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
