"""Small tokenizers, written as a base model's folder has them. Needs transformers."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def save_tokenizer(folder: Path, *, reverse: bool = False) -> Path:
    """One id a byte; `reverse` gives the same bytes other ids."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=reverse)
    tokenizer = Tokenizer(models.BPE({"<end>": 0, **_numbered(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    return folder


def _numbered(alphabet: list[str]) -> dict[str, int]:
    return {letter: at for at, letter in enumerate(alphabet, start=1)}
