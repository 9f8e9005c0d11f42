"""Rows that can be trained on become examples; the others are named."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from app.errors import ConfigError
from app.retrain.examples import read_file, read_groups
from app.retrain.select import Selecting, SelectSettings, rows_to_train
from app.retrain.sieve import Lineage
from app.store.training_rows import to_training_rows
from tests.retrain.logged import logged
from tests.store.groups import make_group


def row(**changes: Any) -> dict[str, Any]:
    usual = {
        "trace_id": "a",
        "sample": 0,
        "policy": "policy-1",
        "prompt_token_ids": [1, 2],
        "token_ids": [3, 4, 5],
        "logprobs": [-0.5, -1.0, -0.25],
        "trainable": True,
        "temperature": 0.7,
        "reward": 1.0,
    }
    return {**usual, **changes}


def test_a_logged_group_is_read_as_it_is_written():
    """The rows of the store, through JSON, are what the trainer reads."""
    rows = [json.loads(json.dumps(each)) for each in to_training_rows(make_group())]

    (group,) = read_groups(rows)

    assert group.id == rows[0]["trace_id"]
    assert group.rewards == tuple(each["reward"] for each in rows)
    assert group.examples[2].completion_ids == array("i", [5, 6, 7, 2])
    assert group.examples[2].mu == array("f", [-0.5, -0.25, -1.0, -0.125])


def test_rows_of_one_trace_are_a_group_in_drawing_order():
    groups = read_groups([row(sample=1), row(trace_id="b"), row(sample=0, reward=0.0)])

    assert [group.id for group in groups] == ["a", "b"]
    assert [example.sample for example in groups[0].examples] == [0, 1]
    assert groups[0].rewards == (0.0, 1.0)


def test_mu_counts_only_where_the_sample_may_be_trained_on():
    """A greedy sample at temperature 0 is imitated at 1; its logprobs are not those of a law."""
    untrained = row(trainable=False, not_trainable="greedy", temperature=0.0)

    (group,) = read_groups([untrained])

    assert group.examples[0].mu is None
    assert group.examples[0].temperature == 1.0


def test_texts_are_tokenised_and_have_no_mu():
    def tokenise(said: Any) -> tuple[list[int], list[int]]:
        return [7], [len(said["text"])]

    (group,) = read_groups([row(token_ids=None, logprobs=None, text="abc")], tokenise=tokenise)

    assert group.examples[0].completion_ids == array("i", [3])
    assert group.examples[0].mu is None


def in_halves(ids: Sequence[int], text: str, ends: Sequence[int]) -> list[int]:
    """As if every token had two characters."""
    return [(end + 1) // 2 for end in ends]


def test_steps_are_kept_with_their_places_in_order():
    """A verifier may name a step after one that stands behind it."""
    said = row(text="abcdef", step_rewards={"steps": [1.0, 0.0]}, step_ends={"steps": [5, 2]})

    (group,) = read_groups([said], place=in_halves)

    assert group.examples[0].step_scores == (0.0, 1.0)
    assert group.examples[0].step_ends == (1, 3)


def test_steps_of_a_text_that_the_ids_do_not_say_have_no_places():
    said = row(text="abcdef", step_rewards={"steps": [1.0, 0.0]}, step_ends={"steps": [2, 5]})

    (group,) = read_groups([said], place=lambda ids, text, ends: None)

    assert group.examples[0].step_scores == (1.0, 0.0)
    assert group.examples[0].step_ends == ()


def test_steps_whose_places_are_not_all_known_have_none():
    said = row(
        text="abcdef",
        step_rewards={"steps": [1.0], "other": [0.5]},
        step_ends={"steps": [1]},
    )

    (group,) = read_groups([said], place=in_halves)

    assert group.examples[0].step_scores == (1.0, 0.5)
    assert group.examples[0].step_ends == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reward": None}, "row 1: 'reward' is null"),
        ({"reward": 1.5}, "row 1: 'reward' must be a number from 0 to 1, not 1.5"),
        ({"logprobs": [-1.0]}, "row 1: 1 'logprobs' for 3 'token_ids'"),
        ({"logprobs": [-1.0, None, 0.0]}, "row 1: 'logprobs' must be a list of numbers"),
        ({"logprobs": [-1.0, float("-inf"), 0.0]}, "row 1: 'logprobs' must be finite"),
        ({"logprobs": [-1.0, 0.5, 0.0]}, "row 1: 'logprobs' must be finite and at most 0"),
        ({"token_ids": []}, "row 1: 'token_ids' is missing and no tokenizer was given"),
        ({"token_ids": ["a"]}, "row 1: 'token_ids' must be a list of token ids"),
        ({"token_ids": [2**40, 1, 1]}, "row 1: 'token_ids' must be a list of token ids"),
        ({"token_ids": [-1, 1, 1]}, "row 1: 'token_ids' must be a list of token ids from 0"),
        ({"prompt_token_ids": None}, "row 1: 'prompt_token_ids' is missing"),
        ({"temperature": 0.0}, "row 1: 'temperature' must be a number above 0, not 0.0"),
        ({"temperature": None}, "row 1: 'temperature' must be a number above 0, not None"),
        ({"group_weight": -1}, "row 1: 'group_weight' must be a number from 0, not -1"),
        ({"trace_id": ""}, "row 1: 'trace_id' must be a text, not ''"),
        ({"sample": -1}, "row 1: 'sample' must be a whole number from 0, not -1"),
        ({"step_rewards": {"steps": [2]}}, "row 1: 'step_rewards.steps' must be a list"),
        (
            {"text": "ab", "step_rewards": {"steps": [1, 1]}, "step_ends": {"steps": [2]}},
            "row 1: 'step_ends.steps' must be places in 'text', one for each step",
        ),
        (
            {"text": "ab", "step_rewards": {"steps": [1]}, "step_ends": {"steps": [3]}},
            "row 1: 'step_ends.steps' must be places in 'text'",
        ),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(change, said):
    with pytest.raises(ConfigError) as caught:
        read_groups([row(**change)])

    assert str(caught.value).startswith(said)


def test_one_sample_comes_once():
    with pytest.raises(ConfigError, match="row 2: sample 0 of a comes twice"):
        read_groups([row(), row()])


def test_a_group_has_one_weight():
    (group,) = read_groups([row(group_weight=1.5), row(sample=1, group_weight=1.5)])

    assert group.weight == 1.5
    with pytest.raises(ConfigError, match="row 2: 'group_weight' differs"):
        read_groups([row(), row(sample=1, group_weight=2.0)])


def test_the_prompts_of_a_group_are_one_prompt():
    with pytest.raises(ConfigError, match="row 2: 'prompt_token_ids' differ"):
        read_groups([row(), row(sample=1, prompt_token_ids=[1])])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "rows.jsonl line 2 is not JSON"),
        ("[]", "rows.jsonl line 2 is not a JSON object"),
        ("{}", "rows.jsonl line 2: 'prompt_token_ids' is missing"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path, text, said):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row()) + "\n" + text + "\n")

    with pytest.raises(ConfigError) as caught:
        read_file(file)

    assert str(caught.value).startswith(said)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"rows.jsonl cannot be read"):
        read_file(tmp_path / "rows.jsonl")


def test_the_rows_of_a_selection_are_read_with_their_weight():
    """Worse samples of an older policy come without µ, so that nothing pushes them down."""
    old = logged(1, policy="policy-2")
    selecting = Selecting(
        Lineage(parent="policy-3", ancestors=frozenset({"policy-2"})), SelectSettings()
    )
    selecting.look_at(old)
    (kept,) = selecting.finish(seed=0).kept

    (group,) = read_groups(json.loads(json.dumps(rows_to_train(kept, old))))

    assert group.weight == kept.weight
    assert [example.mu is None for example in group.examples] == [False, False, True, True]
