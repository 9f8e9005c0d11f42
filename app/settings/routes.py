"""`[defaults]`, `[[routes]]` and `[routing]`: how a request is answered."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from app.plan import Reuse
from app.settings.base import Section
from app.settings.verifiers import named_verifiers
from app.task import Effort, Mode, OnUnverified, RuleName

DEFAULT_ROUTE = "default"


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

    _names_verifiers = field_validator("verifiers")(named_verifiers)

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
