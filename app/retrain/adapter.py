"""The adapter: made so that the server can load it, saved under a name that never changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

from app.errors import ConfigError
from app.retrain.config import LoraSettings

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BARRED = ("lm_head", "embed", "wte", "wpe")
"""Parts of names of modules whose adapters vLLM does not load."""


def add_adapter(model: Any, settings: LoraSettings, parent: Path | None) -> Any:
    """The model with a trainable adapter: the parent's, or a new one that changes nothing yet."""
    if parent is not None:
        check_parent(parent)
        return PeftModel.from_pretrained(model, str(parent), is_trainable=True)
    targets = settings.targets
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        made = get_peft_model(model, config)
    except ValueError as unknown:
        raise ConfigError(f"lora.targets: {unknown}") from None
    _check_trained(made)
    return made


def check_parent(folder: Path) -> None:
    """Raises `ConfigError` where the parent is of a kind that the server would not load."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as unreadable:
        raise ConfigError(f"parent_adapter: {folder / CONFIG}: {unreadable}") from None
    if config.get("peft_type") != "LORA":
        raise ConfigError(f"parent_adapter is {config.get('peft_type')!r}, not a LoRA adapter")
    wrong = [
        key
        for key, fine in (
            ("use_dora", not config.get("use_dora")),
            ("bias", config.get("bias", "none") == "none"),
            ("modules_to_save", not config.get("modules_to_save")),
            ("trainable_token_indices", not config.get("trainable_token_indices")),
        )
        if not fine
    ]
    targets = config.get("target_modules") or []
    for name in [targets] if isinstance(targets, str) else targets:
        if any(word in name for word in BARRED):
            wrong.append(f"target_modules '{name}'")
    if wrong:
        raise ConfigError(f"parent_adapter cannot be served: {', '.join(wrong)} in {CONFIG}")


def _check_trained(model: Any) -> None:
    """`all-linear` follows the model's own structure, so what it found is looked at too."""
    for name, weight in model.named_parameters():
        if weight.requires_grad and any(word in name for word in BARRED):
            raise ConfigError(f"lora.targets reach '{name}', which cannot be served")


def save_adapter(model: Any, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """The files that PEFT and vLLM read. `weights` are the trained ones by full name."""
    kept = get_peft_model_state_dict(model, state_dict=dict(weights), save_embedding_layers=False)
    save_file(
        {name: weight.contiguous() for name, weight in kept.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    config = model.peft_config["default"]
    training, config.inference_mode = config.inference_mode, True
    config.save_pretrained(folder)
    config.inference_mode = training
