"""Adapters that the server could not load are refused before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConfigError
from app.retrain.adapter import add_adapter, check_parent
from app.retrain.config import LoraSettings
from tests.retrain.tiny import make_model

pytestmark = [
    pytest.mark.train,
    # PEFT 0.21 asks for a property of transformers by its old name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def parent(folder: Path, **changes: Any) -> Path:
    usual = {"peft_type": "LORA", "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**usual, **changes}))
    return folder


def test_a_new_adapter_is_on_every_linear_layer_but_the_head():
    model = add_adapter(make_model(), LoraSettings(), None)

    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(names) == 2 * 2 * 7  # A and B, layers, projections
    assert not any("lm_head" in name or "embed" in name for name in names)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_modules": ["q_proj", "lm_head"]}, "target_modules 'lm_head'"),
        ({"target_modules": ["embed_tokens"]}, "target_modules 'embed_tokens'"),
        ({"peft_type": "IA3"}, "parent_adapter is 'IA3', not a LoRA adapter"),
    ],
)
def test_a_parent_that_cannot_be_served_is_refused(tmp_path, change, said):
    with pytest.raises(ConfigError, match=said):
        check_parent(parent(tmp_path, **change))


def test_a_parent_of_ours_is_fine(tmp_path):
    check_parent(parent(tmp_path))


def test_targets_that_are_not_in_the_model_are_named():
    with pytest.raises(ConfigError, match=r"lora.targets: .*nothing"):
        add_adapter(make_model(), LoraSettings(targets=("nothing",)), None)
