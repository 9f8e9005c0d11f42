"""`[verifiers]` and its pools: how answers are checked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from app.settings.base import Section
from verifiers.base import AnswerKind
from verifiers.sandbox.backends import read_back_end

VERIFIER_LIST = 'must be a list like [{ use = "steps" }]'


def named_verifiers(value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """Raises ValueError unless every one says which verifier it is."""
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
        return named_verifiers(value)


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
