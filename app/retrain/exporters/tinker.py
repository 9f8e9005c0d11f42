"""Steps as requests of the Tinker API, which SkyRL's server and others speak.

One JSON file a step, in the wire form of `POST /api/v1/forward_backward` and `/optim_step`: a
client adds the model's id, sends the calls in order and then the step. Gradients of the calls of a
step add up, and that API sums a loss over tokens, so the denominators are folded into advantages
and weights. The default objective is exact in it but for δ and τ: better samples are a
`cross_entropy` with weights q·A/N, worse ones a `cispo` whose ratio is cut at 1.

Written from the published schemas: SkyRL's `skyrl/tinker/api.py`, and the SDK's `Datum` of version
0.38.0, which read such files once. No server was run here; the tests compute that API's losses as
published and find our gradients.
That API knows no temperature: rows drawn at another one than 1 are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import ConfigError
from app.retrain.config import BETAS, TrainConfig
from app.retrain.exporters.run import Turn, token_advantages, write_steps
from app.retrain.plan import Denominators, Row, Step, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One forward and backward: a loss, its bounds, and which rows with what scale."""

    loss_fn: str
    config: Mapping[str, float] | None
    takes: Callable[[float], bool]
    """Of an advantage: does its token belong to this call?"""


def _always(advantage: float) -> bool:
    return True


def _better(advantage: float) -> bool:
    return advantage > 0


def _worse(advantage: float) -> bool:
    return advantage < 0


def _ppo(low: float, high: float) -> tuple[_Call, ...]:
    bounds = {"clip_low_threshold": 1 - low, "clip_high_threshold": 1 + high}
    return (_Call(loss_fn="ppo", config=bounds, takes=_always),)


def _capped(cap: float, takes: Callable[[float], bool] = _always) -> _Call:
    bounds = {"clip_low_threshold": 0.0, "clip_high_threshold": cap}
    return _Call(loss_fn="cispo", config=bounds, takes=takes)


_NLL = _Call(loss_fn="cross_entropy", config=None, takes=_always)
_LEFT_OUT = ("tau", "delta", "entropy_bonus", "cap")


def write_tinker(
    target: Path, units: Sequence[Sequence[Unit]], cfg: TrainConfig, objective: Any
) -> None:
    """Write `manifest.json` and one file a step into the new folder `target`.

    Raises `ConfigError` for an objective or a row that the API has no form for.
    """
    calls = _calls_of(objective)
    _check(units)

    def write(folder: Path, turn: Turn) -> None:
        body = _step_body(turn.step, calls, objective.name, turn.lr)
        path = folder / f"step-{turn.number:06d}.json"
        path.write_text(json.dumps(body), encoding="utf-8")

    write_steps(target, units, cfg, write, _about(cfg, objective))


def _calls_of(objective: Any) -> tuple[_Call, ...]:
    name = objective.name
    if name == "tapered":
        nll = _Call(loss_fn="cross_entropy", config=None, takes=_better)
        return (nll, _capped(1.0, _worse))
    if name in ("grpo", "dr_grpo"):
        return _ppo(objective.epsilon, objective.epsilon)
    if name in ("dapo", "ppo"):
        return _ppo(objective.epsilon_low, objective.epsilon_high)
    if name == "cispo":
        return (_capped(objective.cap),)
    if name in ("sft", "distill", "reinforce"):
        return (_NLL,)
    raise ConfigError(f"objective '{name}' has no form in the Tinker API")


def _check(units: Sequence[Sequence[Unit]]) -> None:
    for row in (row for group in units for unit in group for row in unit):
        if row.example.temperature != 1.0:
            raise ConfigError(
                f"sample {row.example.sample} of {row.example.group} was drawn at temperature "
                f"{row.example.temperature:g}; the Tinker API knows only 1"
            )


def _step_body(step: Step, calls: Iterable[_Call], objective: str, rate: float) -> dict[str, Any]:
    rows = [row for batch in step.shares[0] for row in batch]
    inputs = []
    for call in calls:
        datums = [_datum(row, call, step.denominators, objective) for row in rows]
        kept = [datum for datum in datums if datum is not None]
        if kept:
            inputs.append({"data": kept, "loss_fn": call.loss_fn, "loss_fn_config": call.config})
    return {
        "forward_backward": [{"forward_backward_input": each} for each in inputs],
        "optim_step": {
            "adam_params": {
                "learning_rate": rate,
                "beta1": BETAS[0],
                "beta2": BETAS[1],
                "eps": 1e-8,
                "weight_decay": 0.0,
            }
        },
    }


def _datum(row: Row, call: _Call, denominators: Denominators, objective: str) -> Any:
    """The row as that call sees it, shifted: inputs without the last token, targets the first."""
    example = row.example
    length = len(example.completion_ids)
    scale = _scale(objective, denominators, length)
    values = [scale * a if call.takes(a) else 0.0 for a in token_advantages(row)]
    if not any(values):
        return None
    if call.loss_fn != "cross_entropy" and example.mu is None:
        # A fresh sample has ratio 1, which only cross entropy says without a µ.
        raise ConfigError(
            f"sample {example.sample} of {example.group} has no µ; objective '{objective}' needs it"
        )
    tokens = [*example.prompt_ids, *example.completion_ids]
    before = len(example.prompt_ids) - 1
    inputs = {"target_tokens": _tensor(tokens[1:], "int64")}
    if call.loss_fn == "cross_entropy":
        inputs["weights"] = _tensor([0.0] * before + values, "float32")
    else:
        mask = [0.0] * before + [1.0] * length
        mu = [0.0] * before + [float(value) for value in example.mu or ()]
        inputs |= {
            "weights": _tensor(mask, "float32"),
            "advantages": _tensor([0.0] * before + values, "float32"),
            "logprobs": _tensor(mu, "float32"),
        }
    chunk = {"type": "encoded_text", "tokens": tokens[:-1]}
    return {"model_input": {"chunks": [chunk]}, "loss_fn_inputs": inputs}


def _tensor(data: list[Any], dtype: str) -> dict[str, Any]:
    return {"data": data, "dtype": dtype, "shape": [len(data)]}


def _scale(objective: str, denominators: Denominators, length: int) -> float:
    if objective == "grpo":
        return 1 / (denominators.rows * length)
    if objective == "dr_grpo":
        return 1 / (denominators.rows * denominators.longest)
    return 1 / denominators.tokens


def _about(cfg: TrainConfig, objective: Any) -> dict[str, Any]:
    left_out = [
        name
        for name in _LEFT_OUT
        if getattr(objective, name, None) and not (name == "cap" and objective.name == "cispo")
    ]
    return {
        "form": "tinker",
        "policy": cfg.name,
        "objective": objective.name,
        "left_out": left_out,
        "create_model": {"lora_config": {"rank": cfg.lora.r if cfg.lora else 16, "seed": cfg.seed}},
    }
