"""Objectives side by side: the same log, the same trainer, the same held-out prompts.

A small model (bench/small_world) answers training prompts; the mixed groups are the log. Each
objective trains on it from the same weights with several seeds of the order, for more epochs than a
night would, because what goes wrong goes wrong late. Then the held-out prompts are answered:
`sampled` is the mean of eight samples at temperature 1, `greedy` one at temperature 0. Mean log²ρ,
the effective share of worse samples (ESS) and KL are those of the last five steps.
The interval is a bootstrap over prompts of the change of `sampled`, seeds averaged (95 %).
This calls the trainer directly: what the gateway adds is in bench/night.py.

    python bench/objectives.py BASE [--seeds 3] [--epochs 4] [--json OUT]

BASE is a folder of `python -m small_world.model`. One toy task: it ranks nothing for other models.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from small_world.server import LONGEST, Models, Row, Said, sample
from small_world.task import MARK, answer_of, prompts
from transformers.utils import logging

from app.retrain.config import TrainConfig
from app.retrain.examples import TrainingGroup, read_groups
from app.retrain.paired import Change, differ
from app.retrain.trainer import PeftEngine

K = 8
LAST = 5
OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "tapered, token": ("tapered", {}),
    "tapered, sequence": ("tapered", {"taper": "sequence"}),
    "sft": ("sft", {}),
    "dpo": ("dpo", {}),
    "ppo": ("ppo", {}),
    "grpo": ("grpo", {}),
    "dapo": ("dapo", {}),
    "cispo": ("cispo", {}),
    "reinforce": ("reinforce", {}),
}


def answer(
    models: Models, name: str, asked: Sequence[str], k: int, temperature: float, seed: int
) -> list[list[Said]]:
    """k samples of each prompt."""
    rows = [
        Row(
            prompt=encode(models, prompt),
            seed=seed + k * place + i,
            temperature=temperature,
            limit=LONGEST,
        )
        for place, prompt in enumerate(asked)
        for i in range(k)
    ]
    said = [
        one
        for at in range(0, len(rows), 1_024)
        for one in sample(models[name], rows[at : at + 1_024], models.end)
    ]
    return [said[at : at + k] for at in range(0, len(said), k)]


def encode(models: Models, prompt: str) -> tuple[int, ...]:
    return tuple(models.tokenizer.encode(prompt, add_special_tokens=False))


def is_right(models: Models, prompt: str, said: Said) -> bool:
    text = models.tokenizer.decode(said.ids, skip_special_tokens=True)
    return bool(text.count(MARK) == 1 and text.endswith(MARK + answer_of(prompt)))


def log_of(models: Models, asked: Sequence[str]) -> tuple[TrainingGroup, ...]:
    """What the base model says to the prompts: groups with right and wrong samples."""
    rows = []
    for number, (prompt, drawn) in enumerate(
        zip(asked, answer(models, models.name, asked, K, 1.0, seed=10**6), strict=True)
    ):
        rights = [is_right(models, prompt, said) for said in drawn]
        if len(set(rights)) == 1:
            continue
        for place, (said, right) in enumerate(zip(drawn, rights, strict=True)):
            rows.append(
                {
                    "trace_id": f"group-{number}",
                    "sample": place,
                    "policy": models.name,
                    "prompt_token_ids": list(encode(models, prompt)),
                    "token_ids": list(said.ids),
                    "logprobs": list(said.logprobs),
                    "trainable": True,
                    "temperature": 1.0,
                    "reward": float(right),
                }
            )
    return read_groups(rows)


def train(
    folder: Path, base: Path, groups: Sequence[TrainingGroup], label: str, seed: int, epochs: int
) -> tuple[Path, list[dict[str, Any]]]:
    """The policy's folder, and what was measured in each step."""
    objective, options = OBJECTIVES[label]
    cfg = TrainConfig.model_validate(
        {
            "name": f"policy-{seed + 1}",
            "seed": seed,
            "objective": objective,
            "objective_options": options,
            "lora": None,
            "lr": 3e-4,
            "epochs": epochs,
            "max_steps": 10_000,
            "easy_first": False,
            "dtype": "float32",
            "gradient_checkpointing": False,
            "checkpoint_every": 10_000,
            "guards": {"m2_stop": None, "ess_stop": None, "entropy_drop": None, "grad_spike": None},
        }
    )
    trained = PeftEngine(folder, out=folder).train(groups, base, None, cfg)
    if trained.folder is None:
        raise RuntimeError(f"{label}: {trained.outcome}, {trained.reason}")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return trained.folder, [json.loads(line) for line in lines]


def scores(models: Models, name: str, asked: Sequence[str]) -> tuple[list[float], float]:
    """The share of right samples of each prompt, and of all greedy ones."""
    sampled = [
        statistics.fmean(is_right(models, prompt, said) for said in drawn)
        for prompt, drawn in zip(asked, answer(models, name, asked, K, 1.0, seed=7), strict=True)
    ]
    greedy = [
        is_right(models, prompt, said)
        for prompt, (said,) in zip(asked, answer(models, name, asked, 1, 0.0, seed=7), strict=True)
    ]
    return sampled, statistics.fmean(greedy)


def at_end(steps: Sequence[dict[str, Any]], key: str) -> float | None:
    known = [step[key] for step in steps[-LAST:] if step.get(key) is not None]
    return statistics.fmean(known) if known else None


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    models = Models(arguments.base, "base")
    groups = log_of(models, list(islice(prompts(5, held_out=False), arguments.prompts)))
    asked = list(islice(prompts(77, held_out=True), arguments.held_out))
    before, greedy_before = scores(models, "base", asked)
    print(f"{len(groups)} mixed groups of {arguments.prompts} prompts", flush=True)
    found = []
    for label in arguments.only or OBJECTIVES:
        runs, changes = [], []
        for seed in range(arguments.seeds):
            begun = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                policy, steps = train(
                    Path(folder), arguments.base, groups, label, seed, arguments.epochs
                )
                models.load(policy.name, policy)
                took = time.process_time() - begun
                after, greedy = scores(models, policy.name, asked)
                models.unload(policy.name)
            changes.append([new - old for new, old in zip(after, before, strict=True)])
            runs.append(
                {
                    "sampled": statistics.fmean(after),
                    "greedy": greedy,
                    "cpu_s": took,
                    **{key: at_end(steps, key) for key in ("m2", "ess", "kl")},
                    "steps": len(steps),
                }
            )
        means = [statistics.fmean(each) for each in zip(*changes, strict=True)]
        difference = differ([Change(p, d) for p, d in zip(asked, means, strict=True)], seed=0)
        low, high = difference.interval()
        found.append(
            {"objective": label, "gain": difference.delta, "low": low, "high": high, "runs": runs}
        )
        show_line(found[-1])
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "groups": len(groups),
        "held_out": len(asked),
        "seeds": arguments.seeds,
        "epochs": arguments.epochs,
        "before": {"sampled": statistics.fmean(before), "greedy": greedy_before},
        "objectives": found,
    }


def show_line(each: dict[str, Any]) -> None:
    runs = each["runs"]

    def mean(key: str) -> str:
        known = [run[key] for run in runs if run[key] is not None]
        return f"{statistics.fmean(known):8.3f}" if known else "       -"

    seeds = "/".join(f"{run['sampled']:.2f}" for run in runs)
    print(
        f"{each['objective']:18}{each['gain']:+7.3f} ({each['low']:+.3f} to {each['high']:+.3f})"
        f"  {seeds:15}{mean('greedy')}{mean('m2')}{mean('ess')}{mean('kl')}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--held-out", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(OBJECTIVES), metavar="OBJECTIVE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.disable_progress_bar()
    print(
        f"{'objective':18}  gain of sampled (95 %)     by seed        "
        "  greedy   log²ρ     ESS      KL"
    )
    found = measure(arguments)
    before = found["before"]
    print(
        f"before: sampled {before['sampled']:.3f}, greedy {before['greedy']:.3f}; "
        f"{found['groups']} groups, {found['held_out']} prompts, {found['epochs']} epochs, "
        f"{found['machine']}, load {found['load']}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
