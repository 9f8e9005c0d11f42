"""All settings: one TOML file < environment < flags.

Environment variables are `VERIVOTE__SECTION__KEY`; a list in one is written as JSON. Unknown keys
are errors that name the key and the nearest known one. Secrets are written as `env:NAME` and read
when they are used.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from app.errors import ConfigError
from app.plan import Reuse
from app.task import ContentLevel, Effort, Mode, OnUnverified, RuleName
from verifiers.base import AnswerKind
from verifiers.sandbox.backends import read_back_end

ENV_PREFIX = "VERIVOTE__"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
DEFAULT_ROUTE = "default"


def default_data() -> Path:
    """`./.verivote` in a checkout and where there is no home, else `~/.local/share/verivote`."""
    if Path("app", "gateway.py").is_file() and Path("pyproject.toml").is_file():
        return Path(".verivote")
    try:
        return Path.home() / ".local" / "share" / "verivote"
    except RuntimeError:
        return Path(".verivote")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    keys: Literal["off", "required"] = Field(
        "off", description="`required` asks every caller for a key; `off` is for loopback only."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host names accepted besides loopback ones; `*` accepts any."
    )
    max_body_bytes: int = Field(4 * 2**20, ge=1024, description="Largest request body in bytes.")
    max_messages: int = Field(2048, ge=1, description="Most messages in one request.")
    grace_s: float = Field(30.0, ge=0, description="Seconds that open requests get at shutdown.")
    max_inflight: int = Field(256, ge=1, description="Requests answered at once; more get 503.")
    stream_comment_s: float = Field(
        10.0, gt=0, description="Seconds between keep-alive comments on a quiet stream."
    )


class StoreSettings(Section):
    url: str = Field("", description="SQLAlchemy URL; empty means SQLite in the data folder.")
    content: ContentLevel = Field("full", description="How much text is kept.")


class CacheSettings(Section):
    url: str = Field(
        "memory://",
        description="Where verified answers are kept: `memory://` (this process), or Redis by "
        "`redis://`, `rediss://` or `unix://`.",
    )
    ttl_s: float = Field(86_400.0, gt=0, description="Seconds an entry lives, plus or minus 10 %.")
    max_bytes: int = Field(64 * 2**20, ge=0, description="Memory bound of `memory://`.")
    prefix: str = Field(
        "verivote",
        pattern="^[A-Za-z0-9_.-]{1,64}$",
        description="What the names of all keys in Redis begin with.",
    )
    hmac_key: str = Field(
        "",
        description="Signs what is kept in Redis, as `env:NAME`, 16 characters or more; gateways "
        "with the same one share it. Empty: made from the secret in the data folder.",
    )

    @field_validator("url")
    @classmethod
    def _has_a_known_scheme(cls, value: str) -> str:
        if value != "memory://" and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must be memory://, redis://…, rediss://… or unix://…")
        return value

    @field_validator("hmac_key")
    @classmethod
    def _is_not_in_the_file(cls, value: str) -> str:
        if value and not value.startswith("env:"):
            raise ValueError("must name an environment variable, as env:NAME")
        return value


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


class DefaultSettings(Section):
    effort: Effort = Field("medium", description="low: 8 samples at most, medium 16, high 40.")
    mode: Mode = Field("auto", description="auto: the router decides; off: never; always: always.")
    rule: RuleName = Field("margin", description="Stop rule of the vote.")
    deadline_ms: int = Field(60_000, ge=100, description="Milliseconds for the whole group.")
    on_unverified: OnUnverified = Field("return", description="What an unverified answer gets.")
    temperature: float = Field(
        0.7, ge=0, le=2, description="Temperature of samples on the vote path."
    )
    deny_unknown_fields: bool = Field(
        False, description="Refuse unknown request fields instead of ignoring them."
    )


VERIFIER_LIST = 'must be a list like [{ use = "steps" }]'


def _named_verifiers(value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    if not all(isinstance(spec.get("use"), str) for spec in value):
        raise ValueError(VERIFIER_LIST)
    return value


class PoolSettings(Section):
    kind: AnswerKind | Literal["any"] = Field(
        "any", description="Which tasks: by the kind of their answer."
    )
    take: int = Field(1, ge=1, le=64, description="How many of them look at a request.")
    hidden: bool = Field(True, description="The reply counts them and does not name them.")
    verifiers: tuple[dict[str, Any], ...] = Field(
        (), validate_default=True, description='As in a request: `[{ use = "steps" }, …]`.'
    )

    @field_validator("verifiers")
    @classmethod
    def _is_one(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if not value:
            raise ValueError(VERIFIER_LIST)
        return _named_verifiers(value)


class VerifierSettings(Section):
    deadline_ms: int = Field(5_000, ge=10, description="Milliseconds of work for one verdict.")
    workers: int = Field(2, ge=1, le=64, description="Killable worker processes.")
    sandbox: str = Field(
        "on",
        description="Where code of models runs: `on` in locked-down processes, `bubblewrap` in "
        "namespaces besides, `docker` or `docker:IMAGE` in containers. `unsafe` is without "
        "protection, never in service.",
    )
    judge_engine: str = Field("", description="Engine that judges ask; empty: none can be asked.")
    judge_deadline_ms: int = Field(
        30_000, ge=100, description="Milliseconds for one verdict of a judge."
    )
    min_covered_weight: float = Field(
        0.0, ge=0, le=1, description="Share of the weight that a reward needs; the rest abstained."
    )
    canary_rate: float = Field(
        0.01, ge=0, le=1, description="How often a verifier is shown a known-bad answer."
    )
    plugins: tuple[str, ...] = Field(
        (),
        description="Verifiers of your own: `module`, `module:name` or `path/to/file.py:name`.",
    )
    pools: dict[str, PoolSettings] = Field(
        default_factory=dict, description="Verifiers of which some look at each request."
    )

    @field_validator("sandbox")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return read_back_end(value)


class MatchSettings(Section):
    alias: str = Field("", description="Alias or model that the request asks for.")
    metadata: dict[str, str] = Field(
        default_factory=dict, description="`metadata` of the request that must be there, as given."
    )
    system_sha256: str = Field(
        "",
        pattern="^([0-9a-f]{64})?$",
        description="Hex sha256 of the system prompt (all system and developer messages).",
    )
    regex: str = Field(
        "", max_length=2000, description="RE2 pattern to be found in the last user message."
    )


class RouteSettings(Section):
    name: str = Field(
        pattern="^[a-z0-9][a-z0-9_-]{0,63}$",
        description="What traces, calibration and the router call it.",
    )
    match: MatchSettings = Field(
        MatchSettings(),
        description="Which requests; all that is given must hold, `{}` always does.",
    )
    verifiers: tuple[dict[str, Any], ...] = Field(
        (), description='Added to those of the request: `[{ use = "number" }, …]`.'
    )
    rule: RuleName | None = Field(None, description="Stop rule of the vote.")
    effort: Effort | None = Field(None, description="low: 8 samples at most, medium 16, high 40.")
    max_error: float | None = Field(
        None, ge=0, le=1, description="Share of served answers that may be wrong; else it abstains."
    )
    on_unverified: OnUnverified | None = Field(None, description="What an unverified answer gets.")
    policy: str = Field(
        "", max_length=256, description="Alias, or model of the engine, that is asked instead."
    )
    fallback: str = Field(
        "", description="Alias that is asked when the first model's group is not good enough."
    )
    reuse: Reuse = Field(
        "exact", description="near: verified answers to other wordings may be checked anew."
    )

    _names_verifiers = field_validator("verifiers")(_named_verifiers)

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value == DEFAULT_ROUTE:
            raise ValueError(f"'{value}' is the name of requests that match no route")
        return value


class RoutingSettings(Section):
    learn_every_s: float = Field(
        60.0, ge=0.1, description="Seconds between two looks at what became known in the log."
    )
    fit_at: str = Field(
        "off",
        pattern="^(off|([01][0-9]|2[0-3]):[0-5][0-9])$",
        description="When the log is learned anew and trees are fitted, every day, as `03:30` in "
        "UTC; `off`: when `verivote route fit` is called.",
    )
    max_loss: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Accuracy that tasks may lose, in their mean, by getting one sample because "
        "the learned score finds them easy; 0: it never decides.",
    )


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


class TelemetrySettings(Section):
    otlp_endpoint: str = Field("", description="OTLP/HTTP collector; empty exports nothing.")
    content: bool = Field(False, description="Put prompts and answers on spans.")


class Settings(Section):
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    cache: CacheSettings = CacheSettings()
    engines: dict[str, EngineSettings] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=lambda: {"auto": "main", "*": "main"})
    defaults: DefaultSettings = DefaultSettings()
    routes: tuple[RouteSettings, ...] = Field(
        (), description="The first that matches says how a request is answered."
    )
    routing: RoutingSettings = RoutingSettings()
    retrain: RetrainSettings = RetrainSettings()
    verifiers: VerifierSettings = VerifierSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    data: Path = Field(
        default_factory=default_data,
        description="Folder of all state: `./.verivote` in a checkout, else "
        "`~/.local/share/verivote`.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Settings:
        for alias, engine in self.aliases.items():
            if self.engines and engine not in self.engines:
                known = ", ".join(sorted(self.engines))
                raise ValueError(f"aliases.{alias} names engine '{engine}'; known: {known}")
        judge = self.verifiers.judge_engine
        if judge and self.engines and judge not in self.engines:
            known = ", ".join(sorted(self.engines))
            raise ValueError(f"verifiers.judge_engine names engine '{judge}'; known: {known}")
        if self.engines and self.retrain.schedule != "off":
            self._check_engine("retrain.engine", self.retrain.engine)
        self._check_rank()
        self._check_routes()
        if self.server.keys == "off" and self.server.host not in LOOPBACK_HOSTS:
            raise ValueError(
                f"server.keys is 'off' but server.host is '{self.server.host}': "
                'off loopback a key is required; set server.keys = "required"'
            )
        return self

    def _check_rank(self) -> None:
        engine, rank = self.engines.get(self.retrain.engine), self.retrain.lora_rank
        if engine is not None and engine.kind == "vllm" and rank > engine.max_lora_rank:
            raise ValueError(
                f"retrain.lora_rank is {rank} and engines.{self.retrain.engine}.max_lora_rank "
                f"{engine.max_lora_rank}: the server would not load what is trained"
            )

    def _check_engine(self, key: str, engine: str) -> None:
        if engine not in self.engines:
            known = ", ".join(sorted(self.engines))
            raise ValueError(f"{key} names engine '{engine}'; known: {known}")

    def _check_routes(self) -> None:
        places: dict[str, int] = {}
        for place, route in enumerate(self.routes):
            if (first := places.setdefault(route.name, place)) != place:
                raise ValueError(f"routes[{place}].name '{route.name}' is that of routes[{first}]")
            self._check_alias(f"routes[{place}].fallback", route.fallback)
            if "*" not in self.aliases:
                self._check_alias(f"routes[{place}].match.alias", route.match.alias)

    def _check_alias(self, key: str, alias: str) -> None:
        if alias and (alias == "*" or alias not in self.aliases):
            known = sorted(self.aliases.keys() - {"*"})
            near = difflib.get_close_matches(alias, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            listed = ", ".join(known) or "none"
            raise ValueError(f"{key} names alias '{alias}'; {hint}known: {listed}")


def load_settings(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge file, environment and flags. Raises `ConfigError` that names the key."""
    merged: dict[str, Any] = {}
    if file is not None:
        merged = _read_file(file)
    _merge(merged, _from_environ(environ))
    _merge(merged, flags or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as invalid:
        raise ConfigError(_explain(invalid)) from None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file '{file}' does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise ConfigError(f"config file '{file}' is not TOML: {broken}") from None
    except OSError as unreadable:
        raise ConfigError(f"config file '{file}' cannot be read: {unreadable.strerror}") from None


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX):
            continue
        *parents, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{name}: '{parent}' is set as a value and as a section")
        place[key] = _listed(name, value)
    return found


def _listed(name: str, value: str) -> Any:
    """A list is written as JSON; every other value stays text, which the models convert."""
    if not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ConfigError(f"{name} is not a JSON list: {value!r}") from None


def _merge(into: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _explain(invalid: ValidationError) -> str:
    """The first fault as `key: what is wrong`, with the nearest known key for an unknown one.

    A key that is unknown goes first: it may be why another is missing.
    """
    faults = invalid.errors(include_url=False)
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    path = _path(fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"unknown key '{path}'{hint}"
    message = fault["msg"].removeprefix("Value error, ")
    shown = repr(fault.get("input")) if fault["type"] != "value_error" else ""
    got = f", got {shown}" if shown and len(shown) < 80 else ""
    return f"{path}: {message}{got}" if path else message


def _path(place: tuple[int | str, ...]) -> str:
    """`routes[2].match.regex`"""
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(steps).removeprefix(".")


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        for option in (annotation, *get_args(annotation)):
            if isinstance(option, type) and issubclass(option, BaseModel):
                model = option
                break
        else:
            if path and path[0] == "engines":
                model = EngineSettings
    return list(model.model_fields)
