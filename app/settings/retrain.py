"""`[retrain]`: nights, what they ask of a new policy, and how it is tried."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from app.settings.base import Section


class GateSettings(Section):
    file: str = Field(
        "",
        description="Held-out prompts as JSON Lines; empty: those of the log (split `gate`).",
    )
    samples: int = Field(8, ge=1, le=64, description="Samples a prompt, of each policy.")
    max_prompts: int = Field(400, ge=1, description="Held-out prompts at most, newest first.")
    min_prompts: int = Field(200, ge=1, description="Held-out prompts that are needed.")
    primary: Literal["pass_at_1", "vote", "verified", "greedy"] = Field(
        "pass_at_1", description="What has to be better."
    )
    alpha: float = Field(0.01, gt=0, lt=1, description="One-sided level of that test.")
    token_saving: float = Field(
        0.1, ge=0, le=1, description="Share of tokens that a policy must save to be only as good."
    )
    min_slice: int = Field(50, ge=1, description="Smaller slices of the traffic are pooled.")
    slice_margin: float = Field(
        0.02, ge=0, le=1, description="How far the lower 95 % bound of a slice may lie below 0."
    )
    kl_budget: float = Field(
        0.5, gt=0, description="Nats a token that a policy may be away from the one that serves."
    )
    ignored_signs: tuple[str, ...] = Field(
        (), description="Signs of degeneration that never alarm."
    )

    @model_validator(mode="after")
    def _can_be_passed(self) -> GateSettings:
        if not self.file and self.max_prompts < self.min_prompts:
            raise ValueError(
                f"max_prompts is {self.max_prompts} and min_prompts {self.min_prompts}: "
                "no policy could ever pass"
            )
        return self


class ShareSettings(Section):
    share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description='Share of requests that try a new policy; 0 or `canary = "off"`: it serves all '
        "at once.",
    )
    max_hours: float = Field(2.0, gt=0, description="Then it is decided by what was seen.")
    min_requests: int = Field(100, ge=0, description="Of the canary, before it is promoted.")
    max_requests: int = Field(2_000, ge=1, description="Of the canary; then it is decided.")
    worst_ratio: float = Field(
        1.5, gt=1, description="Failing so many times as often must not pass."
    )


class GuardSettings(Section):
    m2_stop: float = Field(0.1, ge=0, description="Largest mean of (log π − log µ)²; 0: none.")
    ess_stop: float = Field(
        0.3, ge=0, le=1, description="Least effective share of worse samples; 0: none."
    )
    entropy_drop: float = Field(
        0.5, ge=0, le=1, description="Share of the entropy that may be lost; 0: any."
    )
    grad_spike: float = Field(
        5.0, ge=0, description="Largest gradient, in medians of those before; 0: any."
    )


class ShapingSettings(Section):
    length: Literal["none", "soft_overlong", "linear"] = Field(
        "none",
        description="`soft_overlong` punishes answers near `max_tokens`; `linear` lets length "
        "cost as much as the group is good.",
    )
    max_tokens: int | None = Field(
        None, ge=1, description="`soft_overlong`: tokens at which an answer is fully too long."
    )
    buffer_tokens: int | None = Field(
        None, ge=1, description="`soft_overlong`: tokens before that over which it grows."
    )
    process_weight: float = Field(
        0.0, ge=0, description="What a step's score weighs beside the outcome's; 0 ignores steps."
    )

    @model_validator(mode="after")
    def _is_bounded(self) -> ShapingSettings:
        if self.length == "soft_overlong":
            if self.max_tokens is None or self.buffer_tokens is None:
                raise ValueError("length 'soft_overlong' needs max_tokens and buffer_tokens")
            if self.buffer_tokens > self.max_tokens:
                raise ValueError("buffer_tokens must be at most max_tokens")
        return self


class RetrainSettings(Section):
    schedule: str = Field(
        "off",
        pattern="^(off|([01][0-9]|2[0-3]):[0-5][0-9])$",
        description="When a night begins, as `02:30` in UTC; `off`: when it is asked for.",
    )
    engine: str = Field(
        "main", pattern="^[A-Za-z0-9_-]{1,40}$", description="Engine whose model is trained."
    )
    base: str = Field(
        "",
        description="Folder of the base model; empty: `model` of the engine, if that is a folder.",
    )
    objective: str = Field("tapered", description="How to learn from samples.")
    objective_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the objective."
    )
    window_days: float = Field(7.0, gt=0, description="How far back the log is read.")
    min_groups: int = Field(128, ge=1, description="Groups that a night needs, else it is skipped.")
    max_groups: int = Field(1_024, ge=1, description="Groups of a night at most.")
    min_samples: int = Field(4, ge=2, description="Sound samples that a group needs.")
    groups_per_prompt: int = Field(2, ge=1, description="Groups of one prompt at most.")
    tenant_share: float = Field(
        0.02, gt=0, le=1, description="Largest share of the tokens of any one tenant."
    )
    trusted: tuple[str, ...] = Field(
        ("local",), description="Tenants without that limit; `local` is everybody without keys."
    )
    judges: bool = Field(False, description="Whether the word of a judge alone is a reward.")
    lr: float = Field(1e-5, gt=0, description="Learning rate after warm-up.")
    warmup: float = Field(0.1, ge=0, le=1, description="Share of the steps for warming up.")
    grad_clip: float = Field(1.0, gt=0, description="Largest norm of a gradient.")
    epochs: int = Field(2, ge=1, le=100, description="Times that every group is seen.")
    max_steps: int = Field(128, ge=1, description="Updates at most.")
    easy_first: bool = Field(
        True, description="Whether the first epoch goes from easy groups to hard ones."
    )
    groups_per_step: int = Field(16, ge=1, description="Groups an update is made of.")
    token_budget: int = Field(
        16_384, ge=1, description="Padded tokens of one forward on one device."
    )
    gradient_checkpointing: bool = Field(
        True, description="Compute activations again on the way back instead of keeping them."
    )
    lora_rank: int = Field(
        16, ge=0, le=512, description="Rank of the adapter; 0 trains every weight (tiny models)."
    )
    lora_alpha: float = Field(32.0, gt=0, description="Scale of the adapter.")
    dtype: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="What the model computes in."
    )
    checkpoint_every: int = Field(10, ge=1, description="Updates between two checkpoints.")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a process; unset: torch's own choice."
    )
    memory_gb: float | None = Field(
        None,
        gt=0,
        description="Memory of a machine that the trainer may take, not its GPUs'; unset: any.",
    )
    python: str = Field(
        "", description="Interpreter with the extra `train`; empty: the gateway's own."
    )
    processes: int = Field(
        1, ge=1, description="Processes that train together, one a GPU; of all machines."
    )
    fsdp: bool = Field(
        False, description="Spread the model's weights over the processes' GPUs (FSDP2)."
    )
    launcher: tuple[str, ...] = Field(
        (),
        description="Program that starts the command behind it on every machine; empty: all "
        "processes are of this one.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of everything that is drawn in a night.")
    max_mu_drift: float = Field(
        0.05,
        gt=0,
        description="Largest mean of |log π − log µ| at the parent's weights, before training.",
    )
    shaping: ShapingSettings = Field(
        ShapingSettings(), description="What is done to rewards before samples are compared."
    )
    guards: GuardSettings = Field(GuardSettings(), description="When training stops.")
    gate: GateSettings = Field(GateSettings(), description="What a policy has to show.")
    canary: ShareSettings = Field(ShareSettings(), description="The share that tries it first.")

    @field_validator("canary", mode="before")
    @classmethod
    def _may_be_off(cls, value: Any) -> Any:
        return {"share": 0.0} if value == "off" else value

    @model_validator(mode="after")
    def _is_of_several(self) -> RetrainSettings:
        for key in ("fsdp", "launcher"):
            if getattr(self, key) and self.processes == 1:
                raise ValueError(f"retrain.{key} needs retrain.processes of at least 2")
        return self
