"""What the trainer adds to a step: its time against a bare torch loop on the same tensors.

Both train the same LoRA adapter on the same random Llama. The bare loop is given ready tensors
and does the least that a policy gradient needs: logits, log-softmax, −A·log π, backward, clip,
AdamW. The trainer deals out rows, builds tensors, measures ℓ, entropy and the rest, asks its
guards, writes its line of metrics. Steps alternate in one process; the ratio is taken pair by pair
and its interval is a bootstrap over pairs. Times are of the processor, because other work on the
machine stretches the clock's; the clock's are shown beside them.

    python bench/trainer.py [--steps 40] [--width 256] [--vocabulary 8192] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from app.retrain.config import TrainConfig
from app.retrain.examples import TrainingGroup, read_groups
from app.retrain.guards import Measured
from app.retrain.model import prepare_model
from app.retrain.objectives import make_objective
from app.retrain.plan import make_step, make_units
from app.retrain.shaping import Shaping
from app.retrain.tensors import Batch, make_batch
from app.retrain.trainer import PeftEngine

GROUPS_PER_STEP = 4
SAMPLES = 8
WARM = 5
"""Pairs that are run and not counted."""


def make_groups(steps: int, vocabulary: int) -> tuple[TrainingGroup, ...]:
    """Random tokens: prompts of 32 to 96, completions of 16 to 128."""
    rng = random.Random(0)
    rows = []
    for group in range(steps * GROUPS_PER_STEP):
        prompt = [rng.randrange(vocabulary) for _ in range(rng.randrange(32, 97))]
        for sample in range(SAMPLES):
            ids = [rng.randrange(vocabulary) for _ in range(rng.randrange(16, 129))]
            rows.append(
                {
                    "trace_id": f"group-{group}",
                    "sample": sample,
                    "prompt_token_ids": prompt,
                    "token_ids": ids,
                    "logprobs": [-9.0] * len(ids),
                    "trainable": True,
                    "temperature": 1.0,
                    "reward": float(sample % 2),
                }
            )
    return read_groups(rows)


@dataclass
class BareLoop:
    """The least that a step needs, on tensors that are ready."""

    model: Any
    optimizer: Any
    clip: float

    def step(self, batches: Sequence[Batch], tokens: int) -> None:
        for batch in batches:
            columns = batch.ids.shape[1] - batch.first
            logits = self.model(
                input_ids=batch.ids, use_cache=False, logits_to_keep=columns + 1
            ).logits[:, :-1]
            picked = logits[batch.completion[:, batch.first :]]
            law = torch.log_softmax(picked.float() / 1.0, dim=-1)
            targets = batch.ids[batch.completion]
            logprobs = law.gather(-1, targets[:, None]).squeeze(-1)
            loss = -(batch.advantages[batch.completion] * logprobs).sum() / tokens
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Moment:
    cpu_s: float
    clock_s: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.process_time(), time.perf_counter())

    def since(self, earlier: Moment) -> Moment:
        return Moment(self.cpu_s - earlier.cpu_s, self.clock_s - earlier.clock_s)


@dataclass
class Pairs:
    """Told of every step of the trainer, it takes the same step barely and notes both times."""

    bare: BareLoop
    steps: Sequence[tuple[Sequence[Batch], int]]
    trainer_took: list[Moment] = field(default_factory=list)
    bare_took: list[Moment] = field(default_factory=list)
    begun: Moment = field(default_factory=Moment.now)

    def on_step(self, measured: Measured, steps: int) -> None:
        told = Moment.now()
        self.bare.step(*self.steps[measured.step])
        done = Moment.now()
        if measured.step >= WARM:
            self.trainer_took.append(told.since(self.begun))
            self.bare_took.append(done.since(told))
        self.begun = Moment.now()


def interval(values: Sequence[float], *, draws: int = 4000) -> tuple[float, float]:
    """95 % bootstrap interval of the median, seeded."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=arguments.vocabulary,
        hidden_size=arguments.width,
        intermediate_size=3 * arguments.width,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.width // 64,
        num_key_value_heads=arguments.width // 64,
        head_dim=64,
        max_position_embeddings=512,
    )
    base = folder / "base"
    LlamaForCausalLM(config).save_pretrained(base)
    groups = make_groups(arguments.steps + WARM, arguments.vocabulary)
    settings = {
        "name": "policy-1",
        "groups_per_step": GROUPS_PER_STEP,
        "epochs": 1,
        "max_steps": arguments.steps + WARM,
        "token_budget": 2048,
        "dtype": "float32",
        "gradient_checkpointing": False,
        "checkpoint_every": 10**6,
        "guards": {"m2_stop": None, "ess_stop": None, "entropy_drop": None, "grad_spike": None},
    }
    cfg = TrainConfig.model_validate(settings)
    units = make_units(groups, make_objective("tapered"), Shaping())
    steps = []
    for number in range(cfg.max_steps):
        step = make_step(
            units, number, seed=0, groups_per_step=GROUPS_PER_STEP, token_budget=cfg.token_budget
        )
        steps.append(([make_batch(rows) for rows in step.shares[0]], step.denominators.tokens))
    model = prepare_model(base, None, cfg)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=cfg.lr, betas=(0.9, 0.95), weight_decay=0.0)
    pairs = Pairs(BareLoop(model, optimizer, cfg.grad_clip), steps)
    PeftEngine(folder, on_step=pairs.on_step).train(groups, base, None, cfg)
    both = list(zip(pairs.trainer_took, pairs.bare_took, strict=True))
    ratios = [ours.cpu_s / bare.cpu_s for ours, bare in both]
    low, high = interval(ratios)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "vocabulary": arguments.vocabulary,
        "pairs": len(ratios),
        "tokens_per_step": statistics.fmean(tokens for _, tokens in steps),
        "trainer_cpu_ms": statistics.median(ours.cpu_s for ours, _ in both) * 1000,
        "bare_cpu_ms": statistics.median(bare.cpu_s for _, bare in both) * 1000,
        "clock_ratio": statistics.median(ours.clock_s / bare.clock_s for ours, bare in both),
        "ratio": statistics.median(ratios),
        "ratio_low": low,
        "ratio_high": high,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--width", type=int, default=256, help="a multiple of 64")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments)
    print(
        f"{found['machine']}, load {found['load']:.1f}, torch {found['torch']}, "
        f"{found['threads']} thread(s)\n"
        f"Llama of {found['parameters'] / 1e6:.1f} M parameters, vocabulary "
        f"{found['vocabulary']}, {found['tokens_per_step']:.0f} completion tokens a step\n\n"
        f"a step       median CPU ms\n"
        f"bare loop    {found['bare_cpu_ms']:9.1f}\n"
        f"trainer      {found['trainer_cpu_ms']:9.1f}\n"
        f"ratio        {found['ratio']:9.3f}   95 % {found['ratio_low']:.3f} to "
        f"{found['ratio_high']:.3f}, {found['pairs']} pairs (by the clock "
        f"{found['clock_ratio']:.3f})"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
