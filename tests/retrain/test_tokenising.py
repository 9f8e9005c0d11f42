"""Answers of engines that sent no token ids, in the base model's own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from app.errors import ConfigError
from app.retrain.examples import read_groups
from app.retrain.tokenising import Tokeniser
from tests.retrain.tokenizers_made import save_tokenizer

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


def test_places_in_a_text_are_counted_in_tokens(tmp_path):
    """One id a byte: é has two, and a place behind it is reached by the second."""
    tokeniser = Tokeniser(save_tokenizer(tmp_path))
    text = "né = 1. ok"
    ids = ids_of(tmp_path, text)

    assert tokeniser.place(ids, text, [1, 2, 6, 6, 10]) == [1, 3, 7, 7, 11]


def test_what_a_server_cut_off_before_the_text_counts_for_its_first_step(tmp_path):
    tokeniser = Tokeniser(save_tokenizer(tmp_path))

    assert tokeniser.place(ids_of(tmp_path, "hm</think>\n1 = 1\n"), "1 = 1", [5]) == [16]


def test_ids_that_say_another_text_place_nothing(tmp_path):
    tokeniser = Tokeniser(save_tokenizer(tmp_path))

    assert tokeniser.place(ids_of(tmp_path, "1 = 2"), "1 = 1", [5]) is None


def ids_of(folder: Path, text: str) -> list[int]:
    """With the end token, which is not part of the text."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return [*tokenizer.encode(text), tokenizer.eos_token_id]
