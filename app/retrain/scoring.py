"""log π of every completion token, and the entropy there: the only place that calls the model.

Logits are divided by the temperature at which the row was drawn, so that π and µ are the same law
at the same weights, and the softmax is taken in float32 whatever the model computes in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from app.retrain.tensors import Batch

CHUNK_BYTES = 2**28
"""Float32 logits at once. A vocabulary of 128,000 over a whole micro-batch would not fit."""


def score(model: Any, batch: Batch, *, entropy_grad: bool = False) -> tuple[Tensor, Tensor]:
    """log π and entropy, each (B, T), 0 outside the completion; `batch` is on the model's device.

    The entropy carries a gradient only where an objective asks for it.
    """
    logits = logits_of(model, batch)
    asked = batch.completion[:, batch.first :]
    picked = logits[asked]
    targets = batch.ids[batch.completion]
    temperature = batch.temperature[:, None].expand_as(batch.ids)[batch.completion]
    size = max(1, CHUNK_BYTES // (4 * logits.shape[-1]))
    if len(picked) <= size:
        found = [_score_chunk(picked, targets, temperature, entropy_grad)]
    else:
        # Each chunk's float32 copy is made again on the way back instead of being kept.
        found = [
            checkpoint(_score_chunk, *chunk, entropy_grad, use_reentrant=False)
            for chunk in zip(
                picked.split(size), targets.split(size), temperature.split(size), strict=True
            )
        ]
    logprobs, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
    return _placed(logprobs, batch), _placed(entropies, batch)


def logits_of(model: Any, batch: Batch) -> Tensor:
    """(B, T − first, V): the logits that predict the tokens from `first` on.

    Pads stand right of every real token, so causal attention needs no mask to ignore them.
    """
    columns = batch.ids.shape[1] - batch.first
    output = model(input_ids=batch.ids, use_cache=False, logits_to_keep=columns + 1)
    logits: Tensor = output.logits
    # A model that does not know `logits_to_keep` returns them all.
    return logits[:, -columns - 1 : -1]


def _score_chunk(
    logits: Tensor, targets: Tensor, temperature: Tensor, entropy_grad: bool
) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(logits.dtype, torch.float32)
    law = torch.log_softmax(logits.to(wide) / temperature[:, None].to(wide), dim=-1)
    logprobs = law.gather(-1, targets[:, None]).squeeze(-1)
    with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
        entropy = torch.special.entr(law.exp()).sum(-1)
    return logprobs, entropy


def _placed(values: Tensor, batch: Batch) -> Tensor:
    placed = torch.zeros(batch.ids.shape, dtype=values.dtype, device=values.device)
    return placed.masked_scatter(batch.completion, values)
