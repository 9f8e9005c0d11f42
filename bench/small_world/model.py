"""The small world's model: a Llama of some hundred thousand parameters and a tokenizer of
characters, taught to work chains out and then to answer at once most of the time. Needs torch.

    PYTHONPATH=bench python -m small_world.model FOLDER [--seed S]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from small_world.task import MARK, OPERATIONS, PLUS, TIMES, at_once, prompts, worked_out

SYMBOLS = (*"0123456789", PLUS, TIMES, "=", ":", MARK)
PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
BATCH, LR, WARM_UP = 64, 3e-3, 30
FIRST, LAST = 0.95, 0.15
"""Share of chains that are worked out, at first and at last."""
DECAY_AFTER = 100
"""Steps; from then on the learning rate falls with their inverse square root."""
LEARNED = 0.005
"""Mean loss of running values, nats, at which working out is learned. Seed 0 comes to it in 985
steps and seed 1 in 1,430: a fixed number of steps teaches some seeds worse."""
MOST_STEPS = 2_500
LAST_STEPS = 80
"""Of answering at once, after working out is learned."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: place for place, token in enumerate((PAD, END, UNKNOWN, *SYMBOLS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"{MARK}|."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN
    )
    fast.chat_template = TEMPLATE
    return fast


def make_model(seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(SYMBOLS) + 3,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config)


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    """(B, T)"""
    labels: torch.Tensor
    """(B, T), −100 where nothing is learned."""
    working: torch.Tensor
    """(B, T), the places of a chain that is worked out, but for the first: what comes there is a
    choice and not right or wrong."""


def teach(model: Any, *, seed: int) -> int:
    """Chains are mostly worked out until that is learned, then mostly answered at once; the steps.

    Raises `RuntimeError` when working out was not learned.
    """
    batches = draw_batches(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.98), weight_decay=0.0)
    loss, step, rate = 1.0, 0, 0.0
    while loss > LEARNED:
        if step == MOST_STEPS:
            raise RuntimeError(f"working out was not learned in {step} steps: loss {loss:.3f}")
        rate = LR * min(1.0, (step + 1) / WARM_UP, math.sqrt(DECAY_AFTER / (step + 1)))
        loss = 0.9 * loss + 0.1 * update(model, optimizer, batches(FIRST), rate)
        step += 1
    for last in range(LAST_STEPS):
        update(model, optimizer, batches(LAST), rate * (1 - last / LAST_STEPS))
    return step + LAST_STEPS


def update(model: Any, optimizer: Any, batch: Batch, lr: float) -> float:
    """One update; the loss of running values before it."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    logits = model(input_ids=batch.ids).logits[:, :-1]
    losses = functional.cross_entropy(
        logits.flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="none"
    )
    losses.sum().div((batch.labels != -100).sum()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(losses.detach()[batch.working[:, 1:].flatten()].mean())


def draw_batches(seed: int) -> Callable[[float], Batch]:
    """Share of chains to be worked out → the next batch."""
    rng, stream = random.Random(seed), prompts(seed, held_out=False)

    def draw(share: float) -> Batch:
        chains = [next(stream) for _ in range(BATCH)]
        return _tensors(
            [(c, worked_out(c) if rng.random() < share else at_once(c)) for c in chains]
        )

    return draw


def _tensors(texts: Sequence[tuple[str, str]]) -> Batch:
    places = {symbol: place for place, symbol in enumerate(SYMBOLS, start=3)}
    longest = 3 * OPERATIONS + 6
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    labels = torch.full((len(texts), longest), -100)
    working = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, (prompt, completion) in enumerate(texts):
        worked, answer = completion.split(MARK)
        line = [places[symbol] for symbol in (*prompt, *worked, MARK, *answer)] + [1]
        ids[row, : len(line)] = torch.tensor(line)
        labels[row, len(prompt) : len(line)] = torch.tensor(line[len(prompt) :])
        if worked:
            working[row, len(prompt) + 1 : len(line)] = True
    return Batch(ids, labels, working)


def save(model: Any, folder: Path) -> None:
    """What a server and a trainer load."""
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    begun, cpu = time.monotonic(), time.process_time()
    model = make_model(arguments.seed)
    steps = teach(model, seed=arguments.seed)
    save(model, arguments.folder)
    told = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "steps": steps,
        "wall_s": time.monotonic() - begun,
        "cpu_s": time.process_time() - cpu,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
