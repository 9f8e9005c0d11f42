"""Answers of engines that sent no token ids, in the base model's own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from app.errors import ConfigError
from app.retrain.examples import read_groups
from app.retrain.tokenising import Tokeniser

pytestmark = pytest.mark.train

WORDS = ("<end>", "<user>", "<assistant>", "what", "is", "two", "four", "unknown")
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save(folder: Path, *, template: str | None = TEMPLATE, end: str | None = "<end>") -> Path:
    words = models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="unknown")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end)
    fast.chat_template = template
    fast.save_pretrained(folder)
    return folder


def row() -> dict:
    return {
        "trace_id": "a",
        "sample": 0,
        "prompt": [{"role": "user", "content": "what is two"}],
        "tools": [],
        "text": "two is four",
        "prompt_token_ids": None,
        "token_ids": None,
        "logprobs": None,
        "trainable": False,
        "reward": 1.0,
    }


def test_a_text_is_rendered_and_ends(tmp_path):
    (group,) = read_groups([row()], tokenise=Tokeniser(save(tmp_path)))

    (example,) = group.examples
    assert [WORDS[i] for i in example.prompt_ids] == ["<user>", "what", "is", "two", "<assistant>"]
    assert [WORDS[i] for i in example.completion_ids] == ["two", "is", "four", "<end>"]
    assert example.mu is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"template": None}, "base: its chat template cannot render a prompt"),
        ({"template": "{{ raise_exception('no') }}"}, "base: its chat template cannot render"),
        ({"end": None}, "has no end token"),
    ],
)
def test_a_base_that_cannot_render_it_is_named(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        read_groups([row()], tokenise=Tokeniser(save(tmp_path, **changes)))


def test_a_base_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(ConfigError, match="has no tokenizer"):
        read_groups([row()], tokenise=Tokeniser(tmp_path))


def test_a_tokenizer_is_not_loaded_for_rows_with_ids(tmp_path):
    known = row() | {"prompt_token_ids": [3], "token_ids": [4]}

    (group,) = read_groups([known], tokenise=Tokeniser(tmp_path / "nowhere"))

    assert list(group.examples[0].completion_ids) == [4]
