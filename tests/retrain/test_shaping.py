"""From the verdict on a text's steps to the advantage of each token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from app.retrain.examples import read_groups
from app.retrain.plan import Row
from app.retrain.shaping import Shaping, compare
from app.retrain.tensors import make_batch
from app.retrain.tokenising import Tokeniser
from tests.retrain.tokenizers_made import save_tokenizer
from verifiers.base import Answer, Candidate, Check
from verifiers.kinds.steps import Steps

pytestmark = pytest.mark.train

RIGHT, WRONG = "1+1=2. 2+2=4!", "1+1=2. 2+2=5!"
NO_ANSWER = Answer(kind="none", rule=None)
STEPS = Shaping(process_weight=0.4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token a character."""
    return save_tokenizer(tmp_path_factory.mktemp("base"))


def row(base: Path, sample: int, text: str, reward: float) -> dict[str, Any]:
    """As the log has it, judged by `steps` itself."""
    verifier = Steps()
    found = verifier.verify(verifier.prepare({}, Check()), Candidate(text=text), NO_ANSWER)
    ids = PreTrainedTokenizerFast.from_pretrained(base).encode(text)
    return {
        "trace_id": "a",
        "sample": sample,
        "policy": "policy-0",
        "prompt_token_ids": [5, 6],
        "token_ids": ids,
        "logprobs": [-1.0] * len(ids),
        "trainable": True,
        "temperature": 1.0,
        "reward": reward,
        "text": text,
        "step_rewards": {} if found.steps is None else {"steps": found.steps},
        "step_ends": {} if found.step_ends is None else {"steps": found.step_ends},
    }


def test_every_token_gets_its_steps_advantage_beside_the_outcomes(base):
    """Rewards 1 and 0 are centred to +0.5 and -0.5. Of the four steps three are right, so a right
    one is worth 1/4 and the wrong one -3/4; times 0.4 that is +0.1 and -0.3, of which half of the
    outcome's 0.5 is allowed: -0.25. The mark at the end belongs to no step."""
    rows = [row(base, 0, RIGHT, 1.0), row(base, 1, WRONG, 0.0)]
    (group,) = read_groups(rows, place=Tokeniser(base).place)

    picks = compare(group, STEPS, "centred")
    batch = make_batch([Row(example=p.example, advantage=p.advantage, group=0) for p in picks])

    right = [0.6] * 5 + [0.6] * 7 + [0.5]
    wrong = [-0.4] * 5 + [-0.75] * 7 + [-0.5]
    assert [example.step_ends for example in group.examples] == [(5, 12), (5, 12)]
    assert batch.advantages[0].tolist() == pytest.approx([0.0, 0.0, *right])
    assert batch.advantages[1].tolist() == pytest.approx([0.0, 0.0, *wrong])


def test_a_group_without_step_verdicts_has_one_advantage_a_sample(base):
    rows = [row(base, 0, "four", 1.0), row(base, 1, "five", 0.0)]
    (group,) = read_groups(rows, place=Tokeniser(base).place)

    assert [pick.advantage for pick in compare(group, STEPS, "centred")] == [0.5, -0.5]


def test_steps_count_for_nothing_unless_they_are_weighed(base):
    rows = [row(base, 0, RIGHT, 1.0), row(base, 1, WRONG, 0.0)]
    (group,) = read_groups(rows, place=Tokeniser(base).place)

    assert [pick.advantage for pick in compare(group, Shaping(), "centred")] == [0.5, -0.5]
