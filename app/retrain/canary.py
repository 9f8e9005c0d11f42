"""The canary: do the parent's weights say today what the server logged?

At the weights that drew a row, log π is log µ up to rounding. Where it is not, something between
server and trainer differs (chat template, tokenizer, weights, temperature, a cut distribution), and
every ratio of the night would be wrong. It finds that something differs, not what.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from app.retrain.config import CanarySettings
from app.retrain.engine import Canary
from app.retrain.examples import Example, TrainingGroup
from app.retrain.objectives.base import log_ratio
from app.retrain.plan import Row
from app.retrain.scoring import score
from app.retrain.tensors import make_batch


def pick_rows(groups: Sequence[TrainingGroup], policy: str, limit: int) -> list[Example]:
    """Rows with µ that `policy` drew (any, when empty), spread evenly over the groups."""
    known = [
        example
        for group in groups
        for example in group.examples
        if example.mu is not None and policy in ("", example.policy)
    ]
    if len(known) <= limit:
        return known
    return [known[number * len(known) // limit] for number in range(limit)]


def check_canary(
    model: Any, groups: Sequence[TrainingGroup], policy: str, settings: CanarySettings
) -> Canary:
    """Recompute log π of some rows one by one. `model` has the parent's weights."""
    rows = pick_rows(groups, policy, settings.rows)
    if not rows:
        return Canary(rows=0, tokens=0, mean=None, p99=None, reason="")
    device = next(model.parameters()).device
    drifts = []
    training = model.training
    model.eval()
    with torch.no_grad():
        for example in rows:
            batch = make_batch([Row(example=example, advantage=0.0, group=0)]).to(device)
            logprobs, _ = score(model, batch)
            drifts.append(log_ratio(batch, logprobs)[batch.mu_known].abs().float().cpu())
    model.train(training)
    every = torch.cat(drifts)
    mean = float(every.mean())
    reason = ""
    if mean > settings.max_mean:
        reason = (
            f"log π of the parent differs from the logged µ by {mean:.4g} a token, more than "
            f"canary.max_mean {settings.max_mean:g}: chat template, tokenizer, weights or "
            "sampling parameters are not those of the server"
        )
    return Canary(
        rows=len(rows),
        tokens=len(every),
        mean=mean,
        p99=float(every.kthvalue(math.ceil(0.99 * len(every))).values),
        reason=reason,
    )
