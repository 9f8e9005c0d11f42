"""Write a LoRA adapter for SmolLM2-135M without any library: of zeros, or one that is felt."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

RANK, WIDTH, LAYERS = 8, 576, 30
MODULE = "base_model.model.model.layers.{layer}.self_attn.q_proj"
CONFIG = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "smol",
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "lora_alpha": 2 * RANK,
    "lora_dropout": 0.0,
    "r": RANK,
    "target_modules": ["q_proj"],
}


def write_adapter(folder: Path, *, size: float) -> Path:
    """`size` is the standard deviation of the weights; with 0 the model stays as it is."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    rng = random.Random(1)
    tensors: dict[str, tuple[tuple[int, int], bytes]] = {}
    for layer in range(LAYERS):
        for part, shape in (("lora_A", (RANK, WIDTH)), ("lora_B", (WIDTH, RANK))):
            weights = [rng.gauss(0, size) if size else 0.0 for _ in range(RANK * WIDTH)]
            name = f"{MODULE.format(layer=layer)}.{part}.weight"
            tensors[name] = (shape, struct.pack(f"<{len(weights)}f", *weights))
    (folder / "adapter_model.safetensors").write_bytes(as_safetensors(tensors))
    return folder


def as_safetensors(tensors: dict[str, tuple[tuple[int, int], bytes]]) -> bytes:
    """The file format: length of the header, the header in JSON, and the bytes of all tensors."""
    header, at = {}, 0
    for name, (shape, data) in tensors.items():
        offsets = [at, at + len(data)]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": offsets}
        at = offsets[1]
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + b"".join(data for _, data in tensors.values())
