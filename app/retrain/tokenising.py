"""Texts → token ids, for answers of engines that sent none.

Only for imitation: what another tokenizer split cannot be compared with µ. The prompt is rendered
by the base model's own chat template, the answer ends with its end-of-sequence token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from app.errors import ConfigError


class Tokeniser:
    """The base model's tokenizer, loaded when the first text needs it."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._tokenizer: Any = None

    def __call__(self, row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
        """Raises `ConfigError` when the base has no tokenizer, template or end token."""
        tokenizer = self._load()
        try:
            prompt = tokenizer.apply_chat_template(
                row["prompt"],
                tools=row.get("tools") or None,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        except Exception as unfit:  # templates are programs of others and raise what they like
            raise ConfigError(f"base: its chat template cannot render a prompt: {unfit}") from None
        answer = tokenizer.encode(row["text"], add_special_tokens=False)
        return list(prompt), [*answer, tokenizer.eos_token_id]

    def _load(self) -> Any:
        if self._tokenizer is None:
            try:
                self._tokenizer = AutoTokenizer.from_pretrained(self._base, local_files_only=True)
            except (OSError, ValueError, KeyError) as broken:
                raise ConfigError(f"base: {self._base} has no tokenizer: {broken}") from None
            if self._tokenizer.eos_token_id is None:
                raise ConfigError(f"base: the tokenizer of {self._base} has no end token")
        return self._tokenizer
