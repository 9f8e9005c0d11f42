"""`[engines.NAME]`: where samples come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from app.settings.base import Section

OF_VLLM = (
    *("python", "start_s", "max_model_len", "tensor_parallel", "data_parallel"),
    *("max_lora_rank", "max_loras", "max_cpu_loras", "args"),
)
"""Settings of a vLLM that the gateway starts."""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Sizes that vLLM has."""


class EngineSettings(Section):
    kind: Literal["openai", "vllm", "embedded"] = Field(
        "openai",
        description="Which back end: a server at an address, a vLLM that the gateway starts and "
        "keeps running, or the small local model.",
    )
    base_url: str = Field("", description="Address of an OpenAI-compatible server, up to `/v1`.")
    replicas: tuple[str, ...] = Field(
        (),
        description="Addresses of the vLLMs behind `base_url`, up to `/v1`: adapters are loaded "
        "into each. Empty: there is one server.",
    )
    api_key: str = Field("", description="Key for the server, as `env:NAME` or the key itself.")
    model: str = Field(
        "",
        description="Model to ask for; empty takes the server's first model. For `vllm` the "
        "folder or the name of the model to serve.",
    )
    connect_s: float = Field(2.0, gt=0, description="Seconds to connect.")
    first_byte_s: float = Field(30.0, gt=0, description="Seconds until the first byte.")
    idle_s: float = Field(20.0, gt=0, description="Seconds of silence inside a reply.")
    request_s: float = Field(120.0, gt=0, description="Seconds for one call in all.")
    max_inflight: int = Field(256, ge=1, description="Samples in flight at once.")
    retries: int = Field(2, ge=0, le=10, description="Retries before the first byte.")
    python: str = Field(
        "", description="`vllm`: the Python that has vLLM; empty: that of the gateway."
    )
    start_s: float = Field(
        900.0, gt=0, description="`vllm`: seconds until it answers, loading the model included."
    )
    max_model_len: int | None = Field(
        None, ge=16, description="`vllm`: tokens of prompt and completion; not set: the model's."
    )
    tensor_parallel: int = Field(
        1, ge=1, description="`vllm`: devices that share each copy of the model."
    )
    data_parallel: int = Field(1, ge=1, description="`vllm`: copies of the model.")
    max_lora_rank: int = Field(
        32,
        description="`vllm`: rank of the largest adapter: 1, 8, 16, 32, 64, 128, 256, 320 or 512.",
    )
    max_loras: int = Field(3, ge=1, description="`vllm`: adapters in one batch.")
    max_cpu_loras: int = Field(
        6, ge=1, description="`vllm`: adapters kept in memory; the oldest gives way."
    )
    args: tuple[str, ...] = Field(
        (), description="`vllm`: further arguments of its server, after those of the gateway."
    )

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("replicas")
    @classmethod
    def _are_http(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cls._is_http(each) for each in value)

    @field_validator("max_lora_rank")
    @classmethod
    def _is_a_rank_of_vllm(cls, value: int) -> int:
        if value not in LORA_RANKS:
            raise ValueError(f"must be one of {', '.join(map(str, LORA_RANKS))}")
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> EngineSettings:
        of_others = ("base_url", "replicas") if self.kind == "vllm" else OF_VLLM
        for key in of_others:
            if getattr(self, key) != type(self).model_fields[key].default:
                whose = "a server at an address" if self.kind == "vllm" else 'kind = "vllm"'
                raise ValueError(f"'{key}' is for {whose}, and kind is '{self.kind}'")
        if self.kind == "vllm" and not self.model:
            raise ValueError("'model' is missing; name the folder or the model to serve")
        if self.max_cpu_loras < self.max_loras:
            raise ValueError("'max_cpu_loras' must be at least 'max_loras'")
        return self
