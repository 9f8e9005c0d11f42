"""The tokenizer that is trained on is the one that the log was split with, or it is noticed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from app.engines.fingerprint import TEXT, digest_ids
from app.retrain.process import base_tokenizer
from tests.retrain.tokenizers_made import save_tokenizer

pytestmark = pytest.mark.train


async def test_a_folder_gives_the_digest_that_a_server_of_it_gives(tmp_path: Path) -> None:
    """A server splits the same text and adds nothing to it."""
    folder = save_tokenizer(tmp_path)
    split = AutoTokenizer.from_pretrained(folder).encode(TEXT, add_special_tokens=False)

    assert await base_tokenizer(folder, sys.executable) == digest_ids(split)


async def test_other_ids_for_the_same_text_are_another_tokenizer(tmp_path: Path) -> None:
    one = await base_tokenizer(save_tokenizer(tmp_path / "one"), sys.executable)
    other = await base_tokenizer(save_tokenizer(tmp_path / "two", reverse=True), sys.executable)

    assert None not in (one, other)
    assert one != other


async def test_a_folder_without_a_tokenizer_is_not_asked(tmp_path: Path) -> None:
    assert await base_tokenizer(tmp_path, "/no/such/python") is None


@pytest.mark.parametrize("written", ["", "{", '{"model": {"type": "unheard of"}}'])
async def test_a_tokenizer_that_cannot_be_loaded_is_unknown_and_said(
    tmp_path: Path, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokenizer.json").write_text(written)

    assert await base_tokenizer(tmp_path, sys.executable) is None
    assert f"the tokenizer in {tmp_path} cannot be loaded" in caplog.text
