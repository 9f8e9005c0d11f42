"""Where the gateway listens, what it keeps and caches, and whom it tells."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from app.settings.base import Section
from app.task import ContentLevel

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


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


class TelemetrySettings(Section):
    otlp_endpoint: str = Field("", description="OTLP/HTTP collector; empty exports nothing.")
    content: bool = Field(False, description="Put prompts and answers on spans.")
