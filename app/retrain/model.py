"""The model as training starts with it: base, parent's or new adapter, and what is trainable."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from app.errors import ConfigError
from app.retrain.adapter import add_adapter
from app.retrain.config import TrainConfig
from app.retrain.examples import TrainingGroup


def load_model(base: Path, dtype: str) -> Any:
    """The base model, from files only. Raises `ConfigError` when it cannot be loaded."""
    if not base.is_dir():
        raise ConfigError(f"base: there is no folder {base}")
    try:
        return AutoModelForCausalLM.from_pretrained(
            base, dtype=getattr(torch, dtype), local_files_only=True
        )
    except (OSError, ValueError, KeyError) as broken:
        raise ConfigError(f"base: {base} is not a model that can be loaded: {broken}") from None


def prepare_model(base: Path, parent_adapter: Path | None, cfg: TrainConfig) -> Any:
    """Ready to train. New weights follow from the seed; trained weights are float32."""
    torch.manual_seed(cfg.seed)
    if cfg.lora is None:
        if parent_adapter is not None:
            raise ConfigError("parent_adapter needs train.lora; without it base is the parent")
        model = load_model(base, "float32")
    else:
        model = load_model(base, cfg.dtype)
        with warnings.catch_warnings():
            # PEFT 0.21 asks for a property of transformers by its old name.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            model = add_adapter(model, cfg.lora, parent_adapter)
    if cfg.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    return model


def check_ids(model: Any, groups: Iterable[TrainingGroup]) -> None:
    """Raises `ConfigError` for a token that the model has no embedding for."""
    known = model.get_input_embeddings().num_embeddings
    for group in groups:
        for example in group.examples:
            highest = max(*example.prompt_ids, *example.completion_ids)
            if highest >= known:
                raise ConfigError(
                    f"sample {example.sample} of {example.group} has token id {highest}, and base "
                    f"has {known} tokens: it is not of the model that drew the rows"
                )
