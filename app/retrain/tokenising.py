"""Texts → token ids, for answers of engines that sent none; places in a text → tokens.

Ids that are made here are only imitated: what another tokenizer split cannot be compared with µ.
The prompt is rendered by the base model's own chat template, the answer ends with its
end-of-sequence token.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
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

    def place(self, ids: Sequence[int], text: str, ends: Sequence[int]) -> list[int] | None:
        """How many of the ids reach each place in their text, in characters, rising.

        What stands before the text, as thinking that a server cut off, counts for the first. None
        when the ids do not end in the text. Raises `ConfigError` when the base has no tokenizer.
        """
        before = self._decode(ids).rstrip().rfind(text.rstrip())
        if before < 0:
            return None
        counts = range(1, len(ids) + 1)
        reached: list[int] = []
        for end in ends:
            after = reached[-1] - 1 if reached else 0
            found = bisect_left(counts, before + end, after, key=lambda n: self._reach(ids[:n]))
            reached.append(counts[found])
        return reached

    def _reach(self, ids: Sequence[int]) -> int:
        """Whole characters of the ids: one that is cut inside decodes to a substitute."""
        return len(self._decode(ids).rstrip("\ufffd"))

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._load().decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _load(self) -> Any:
        if self._tokenizer is None:
            try:
                self._tokenizer = AutoTokenizer.from_pretrained(self._base, local_files_only=True)
            except (OSError, ValueError, KeyError) as broken:
                raise ConfigError(f"base: {self._base} has no tokenizer: {broken}") from None
            if self._tokenizer.eos_token_id is None:
                raise ConfigError(f"base: the tokenizer of {self._base} has no end token")
        return self._tokenizer
