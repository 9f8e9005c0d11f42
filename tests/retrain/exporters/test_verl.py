"""Rollouts that an agent loop of verl would return: golden files, and its model reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from app.errors import ConfigError
from app.retrain.exporters.verl import write_verl
from tests.retrain.exporters.conftest import units
from tests.retrain.exporters.test_prime_rl import Objective, files_of

GOLDEN = Path(__file__).parent / "golden" / "verl"


def test_the_files_are_the_golden_ones(tmp_path, cfg):
    write_verl(tmp_path / "out", units(), cfg, Objective())

    assert files_of(tmp_path / "out") == files_of(GOLDEN)


class Metrics(BaseModel):
    """As verl 0.9.1 has them, all with a default."""

    model_config = ConfigDict(extra="forbid")

    generate_sequences: float = 0.0
    tool_calls: float = 0.0
    compute_score: float = 0.0
    num_preempted: int = -1


class Output(BaseModel):
    """The part of verl 0.9.1's `AgentLoopOutput` that a text needs."""

    model_config = ConfigDict(extra="forbid")

    prompt_ids: list[int]
    response_ids: list[int]
    response_mask: list[int]
    response_logprobs: list[float] | None = None
    reward_score: float | None = None
    num_turns: int = 0
    metrics: Metrics
    extra_fields: dict[str, Any] = {}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_line_is_an_output_of_an_agent_loop_that_its_question_points_to(tmp_path, cfg):
    write_verl(tmp_path / "out", units(), cfg, Objective())

    outputs = [Output.model_validate(line) for line in lines(tmp_path / "out" / "rollouts.jsonl")]
    asked = lines(tmp_path / "out" / "data.jsonl")
    assert [question["extra_info"]["index"] for question in asked] == [0, 1, 2]
    assert [question["agent_name"] for question in asked] == ["verivote"] * 3
    first, _, last = outputs
    assert (first.prompt_ids, first.response_ids) == ([11, 12], [21, 22, 1])
    assert (first.response_mask, first.response_logprobs) == ([1, 1, 1], [-0.5, -0.25, -0.125])
    assert first.extra_fields["advantages"] == [0.5, 0.5, 0.5]
    assert last.extra_fields == {"group": "b", "sample": 1, "advantages": [-1.0]}  # weighed


def test_rows_without_mu_are_left_out_and_counted(tmp_path, cfg):
    write_verl(tmp_path / "out", units(), cfg, Objective())

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["rows"], manifest["left_out"][1]) == (3, "rows without µ: 1")


def test_where_no_row_has_mu_nothing_is_written(tmp_path, cfg):
    ((without,), _) = units()[1]

    with pytest.raises(ConfigError, match="no row has µ"):
        write_verl(tmp_path / "out", (((without,),),), cfg, Objective())

    assert not (tmp_path / "out").exists()


def test_several_temperatures_are_refused(tmp_path, cfg):
    group_a, _ = units()
    ((row,), (other,)) = group_a
    colder = replace(other, example=replace(other.example, temperature=0.5))

    with pytest.raises(ConfigError, match=r"sample 1 of a was drawn at temperature 0.5 and others"):
        write_verl(tmp_path / "out", (((row,), (colder,)),), cfg, Objective())
