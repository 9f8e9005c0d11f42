"""`job.json`: what one run of the trainer is asked to do. Pydantic at the edge, frozen inside."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.errors import ConfigError
from app.retrain.guards import Limits
from app.retrain.objectives import DEFAULT, check_name
from app.retrain.shaping import Shaping

BETAS = (0.9, 0.95)
"""Of AdamW, whose weight decay is 0."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoraSettings(Section):
    r: int = Field(
        16, ge=1, le=512, description="Rank. The server's `--max-lora-rank` must allow it."
    )
    alpha: float = Field(32.0, gt=0, description="Scale: the update counts alpha / r times.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="Names of the modules that get an adapter."
    )

    @field_validator("targets")
    @classmethod
    def _can_be_served(cls, value: Any) -> Any:
        if value == "all-linear":
            return value
        if not value:
            raise ValueError("must be 'all-linear' or at least one name")
        # vLLM does not load adapters of these.
        barred = ("lm_head", "embed", "wte", "wpe")
        for name in value:
            if any(word in name for word in barred):
                raise ValueError(f"'{name}' cannot be served: no output head, no embeddings")
        return value


class CanarySettings(Section):
    rows: int = Field(64, ge=0, description="Rows to recompute at most; 0 leaves the check out.")
    max_mean: float = Field(
        0.05, gt=0, description="Largest mean of |log π − log µ| at the parent's weights."
    )


class TrainConfig(Section):
    """How to train. The defaults are those of a model of a billion parameters and more."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the policy that comes out, for ever: `policy-7`.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of the order of groups and new weights.")
    objective: str = Field(DEFAULT, description="How to learn from the samples.")
    objective_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the objective."
    )
    shaping: Shaping = Field(Shaping(), description="What is done to rewards before comparing.")
    lora: LoraSettings | None = Field(
        LoraSettings(), description="The adapter; null trains every weight, for tiny models."
    )
    lr: float = Field(1e-5, gt=0, description="Learning rate after warm-up.")
    warmup: float = Field(0.1, ge=0, le=1, description="Share of the steps for warming up.")
    grad_clip: float = Field(1.0, gt=0, description="Largest norm of a gradient.")
    epochs: int = Field(2, ge=1, le=100, description="Times that every group is seen.")
    groups_per_step: int = Field(16, ge=1, description="Groups an update is made of.")
    easy_first: bool = Field(
        True,
        description="In the first epoch from the groups with the most right samples to those with "
        "the fewest; without it, and later, in an order drawn by seed.",
    )
    max_steps: int = Field(128, ge=1, description="Updates at most.")
    token_budget: int = Field(
        16_384, ge=1, description="Padded tokens of one forward on one device."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="What the model computes in; trained weights are float32."
    )
    gradient_checkpointing: bool = Field(
        True, description="Compute activations again on the way back instead of keeping them."
    )
    checkpoint_every: int = Field(10, ge=1, description="Updates between two checkpoints.")
    threads: int | None = Field(None, ge=1, description="CPU threads; null leaves it to torch.")
    guards: Limits = Field(Limits(), description="When to stop.")

    @field_validator("objective")
    @classmethod
    def _is_known(cls, value: str) -> str:
        check_name(value)
        return value


class Job(Section):
    """`job.json`, beside `rows.jsonl`."""

    base: Path = Field(description="Folder of the base model, with its tokenizer.")
    parent_adapter: Path | None = Field(
        None, description="Adapter to go on from; null starts a new one."
    )
    parent_policy: str = Field(
        "", description="Name of the policy whose rows the canary recomputes; empty: all rows."
    )
    out: Path | None = Field(None, description="Where the policy's folder goes; null: beside it.")
    memory_gb: float | None = Field(
        None, gt=0, description="Memory that the processes of one machine may take together."
    )
    train: TrainConfig = Field(description="How to train.")
    canary: CanarySettings = Field(CanarySettings(), description="The check before training.")


def read_job(file: Path) -> Job:
    """Raises `ConfigError` that names the key."""
    try:
        return Job.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist") from None
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigError(f"{file} cannot be read: {unreadable}") from None
    except ValidationError as invalid:
        raise ConfigError(f"{file.name}: {_explain(invalid)}") from None
    except ValueError as broken:
        raise ConfigError(f"{file.name} is not JSON: {broken}") from None


def _explain(invalid: ValidationError) -> str:
    fault = invalid.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] not in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: {fault['msg']}"
    known = _known_beside(fault["loc"])
    near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"'{key}' is not known{hint}"


def _known_beside(place: tuple[int | str, ...]) -> list[str]:
    """Keys of the section that `place` is in."""
    sections: dict[tuple[str, ...], Any] = {
        (): Job.model_fields,
        ("train",): TrainConfig.model_fields,
        ("canary",): CanarySettings.model_fields,
        ("train", "lora"): LoraSettings.model_fields,
        ("train", "guards"): Limits.__dataclass_fields__,
        ("train", "shaping"): Shaping.__dataclass_fields__,
    }
    return list(sections.get(tuple(str(part) for part in place[:-1]), ()))
