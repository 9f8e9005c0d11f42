"""A tiny random Llama, and groups that look as if it had drawn them. Needs torch."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from app.retrain.examples import Example, TrainingGroup, read_groups
from app.retrain.plan import Denominators, Row
from app.retrain.scoring import score
from app.retrain.tensors import make_batch

VOCABULARY = 32
TEMPERATURE = 0.8

torch.set_num_threads(1)


def make_model(seed: int = 0, *, layers: int = 2, width: int = 64) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config).eval()


def save_model(folder: Path, seed: int = 0) -> Path:
    make_model(seed).save_pretrained(folder)
    return folder


def is_odd(token: int) -> bool:
    return token % 2 == 1


def make_rows(
    model: Any,
    *,
    groups: int = 16,
    samples: int = 8,
    seed: int = 0,
    good: Callable[[int], bool] = is_odd,
) -> list[dict[str, Any]]:
    """Training rows with the model's own µ. Reward 1 where most tokens are `good`: a planted task.

    A group without a difference is drawn again, as the selection would leave it out.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed)
    rows: list[dict[str, Any]] = []
    for number in range(groups):
        prompt = [rng.randrange(2, VOCABULARY) for _ in range(rng.randrange(3, 8))]
        drawn: list[list[int]] = []
        rewards: list[float] = []
        while len(set(rewards)) < 2:
            drawn = [ids[: rng.randrange(2, 9)] for ids in _draw(model, prompt, samples)]
            rewards = [float(sum(map(good, ids)) > len(ids) / 2) for ids in drawn]
        for sample, (ids, reward) in enumerate(zip(drawn, rewards, strict=True)):
            rows.append(make_row(f"group-{number}", sample, prompt, ids, reward))
    return with_mu(model, rows)


def make_row(
    group: str, sample: int, prompt: Sequence[int], ids: Sequence[int], reward: float
) -> dict[str, Any]:
    return {
        "trace_id": group,
        "sample": sample,
        "policy": "policy-0",
        "prompt_token_ids": list(prompt),
        "token_ids": list(ids),
        "logprobs": [-1.0] * len(ids),
        "trainable": True,
        "temperature": TEMPERATURE,
        "reward": reward,
    }


def with_mu(model: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with log µ as `model` has it."""
    for row in rows:
        (group,) = read_groups([row])
        batch = make_batch([Row(example=group.examples[0], advantage=0.0, group=0)])
        with torch.no_grad():
            logprobs, _ = score(model, batch)
        row["logprobs"] = logprobs[batch.completion].tolist()
    return rows


def _draw(model: Any, prompt: list[int], samples: int, length: int = 8) -> list[list[int]]:
    ids = torch.tensor([prompt] * samples)
    with torch.no_grad():
        for _ in range(length):
            law = (model(input_ids=ids).logits[:, -1] / TEMPERATURE).softmax(-1)
            ids = torch.cat([ids, torch.multinomial(law, 1)], dim=1)
    drawn: list[list[int]] = ids[:, len(prompt) :].tolist()
    return drawn


def make_groups(model: Any, **wanted: Any) -> tuple[TrainingGroup, ...]:
    return read_groups(make_rows(model, **wanted))


def make_row_of(example: Example, advantage: Any = 0.0, **place: Any) -> Row:
    return Row(example=example, advantage=advantage, **{"group": 0, **place})


def denominators_of(rows: Sequence[Row]) -> Denominators:
    lengths = [len(row.example.completion_ids) for row in rows]
    return Denominators(
        tokens=sum(lengths),
        rows=len(rows),
        groups=len({row.group for row in rows}),
        longest=max(lengths),
    )


def write_job(folder: Path, base: Path, rows: list[dict[str, Any]], **train: Any) -> Path:
    """A job folder for `python -m app.retrain.train`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "job.json").write_text(
        json.dumps({"base": str(base), "train": settings(**train)}, indent=1)
    )
    return folder


def settings(**changes: Any) -> dict[str, Any]:
    """A `train` section for a model this small."""
    usual = {
        "name": "policy-1",
        "lr": 2e-2,
        "groups_per_step": 4,
        "token_budget": 200,
        "dtype": "float32",
        "threads": 1,
        "checkpoint_every": 3,
        "guards": {"m2_stop": None, "ess_stop": None, "entropy_drop": None, "grad_spike": None},
    }
    return {**usual, **changes}
