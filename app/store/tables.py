"""The tables, as the newest migration leaves them.

`groups`, `samples` and `verdicts` are what lists, reports and the night select by; texts live apart
in `payloads`, whose `document` is the whole group, so a list never reads a text. Columns hold
shortened copies where an index or a list needs them; the document is the truth.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

PREVIEW_CHARS = 120
NAME_CHARS = 200
"""Names that a client chooses are cut here in columns: an index entry has a size limit."""


class Packed(TypeDecorator[Sequence[Any]]):
    """A row of 4-byte numbers: an array on Postgres, little-endian bytes on SQLite.

    `code` is `i` for signed integers or `f` for floats, so a logprob is kept in single precision.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            item: TypeEngine[Any] = Integer() if self.code == "i" else REAL()
            return dialect.type_descriptor(ARRAY(item))
        return dialect.type_descriptor(LargeBinary())

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value if value is None else list(value)
        return array(self.code, value).tobytes()

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Any, ...] | None:
        if value is None or dialect.name == "postgresql":
            return value if value is None else tuple(value)
        return tuple(array(self.code, value))


def _json() -> TypeEngine[Any]:
    return JSON().with_variant(JSONB(), "postgresql")


def _trace_id(*, primary_key: bool = False) -> Column[str]:
    owner = ForeignKey("groups.trace_id", ondelete="CASCADE")
    return Column("trace_id", String(64), owner, primary_key=primary_key, nullable=False)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

groups = Table(
    "groups",
    metadata,
    Column("trace_id", String(64), primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("tenant", String(NAME_CHARS), nullable=False),
    Column("model", String(NAME_CHARS), nullable=False),
    Column("alias", String(NAME_CHARS), nullable=False),
    Column("engine", String(NAME_CHARS), nullable=False),
    Column("policy", String(NAME_CHARS), nullable=False),
    Column("route", String(16), nullable=False),
    Column("difficulty", Double, nullable=False),
    Column("status", String(16), nullable=False),
    Column("stop_reason", Text, nullable=False),
    Column("error_code", Text),
    Column("prompt_preview", Text, nullable=False),
    Column("prompt_hash", String(64)),
    Column("cluster", String(64)),
    Column("split", String(8), nullable=False),
    Column("answer", Text),
    Column("samples", Integer, nullable=False),
    Column("rounds", Integer, nullable=False),
    Column("votes", _json(), nullable=False),
    Column("agreement", Double),
    Column("split_vote", Boolean, nullable=False),
    Column("verdict_counts", _json(), nullable=False),
    Column("has_verifier_error", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Column("cache_hit", Boolean, nullable=False),
    Column("degraded", _json(), nullable=False),
    Column("metadata", _json(), nullable=False),
    Column("content", String(16), nullable=False),
    Column("user_hash", Text),
    Column("gateway_version", Text, nullable=False),
    Column("extractor_version", Text, nullable=False),
    Column("group_version", Integer, nullable=False),
    # Ids sort by time, so each of these walks a filtered list newest first.
    Index(None, "tenant", "trace_id"),
    Index(None, "status", "trace_id"),
    Index(None, "route", "trace_id"),
    Index(None, "model", "trace_id"),
    Index(None, "received_at"),
    Index(None, "policy", "split"),
)

samples = Table(
    "samples",
    metadata,
    _trace_id(primary_key=True),
    Column("sample", Integer, primary_key=True, autoincrement=False),
    Column("round", Integer, nullable=False),
    Column("finish_reason", Text),
    Column("answer_key", Text),
    Column("reward", Double),
    Column("policy", String(NAME_CHARS), nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("token_ids", Packed("i")),
    Column("logprobs", Packed("f")),
    Column("trainable", Boolean, nullable=False),
    Column("not_trainable", Text, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("started_ms", Double, nullable=False),
    Column("first_token_ms", Double),
    Column("finished_ms", Double, nullable=False),
    Index(None, "policy", "trainable"),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("trace_id", String(64), primary_key=True),
    Column("sample", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("verifier", String(NAME_CHARS), nullable=False),
    Column("version", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("decisive", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("score", Double),
    Column("reason", Text, nullable=False),
    Column("wait_ms", Double, nullable=False),
    Column("run_ms", Double, nullable=False),
    ForeignKeyConstraint(
        ["trace_id", "sample"], ["samples.trace_id", "samples.sample"], ondelete="CASCADE"
    ),
    Index(None, "verifier", "status"),
)

payloads = Table(
    "payloads",
    metadata,
    _trace_id(primary_key=True),
    Column("document", Text, nullable=False),
    Column("altered", _json(), nullable=False),
    Column("original_sha256", String(64)),
    Column("prompt_token_ids", Packed("i")),
)

labels = Table(
    "labels",
    metadata,
    Column("id", String(64), primary_key=True),
    _trace_id(),
    Column("kind", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("author", Text, nullable=False),
    Column("sample", Integer),
    Column("correction", Text),
    Column("note", Text),
    Index(None, "trace_id"),
)

nights = Table(
    "nights",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("schedule", String(NAME_CHARS), nullable=False),
    Column("day", Date, nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("objective", Text, nullable=False),
    Column("settings", _json(), nullable=False),
    Column("report", _json()),
    # The policy it makes or would have made; what it is doing, and whose process does it.
    Column("policy", String(NAME_CHARS)),
    Column("phase", String(16)),
    Column("owner", String(64)),
    Column("heartbeat_at", Double),
    # Whoever triggers a scheduled night second finds it taken.
    UniqueConstraint("schedule", "day"),
    Index(None, "policy", unique=True),
)

_SERVING = text("status IN ('active', 'canary')")

policies = Table(
    "policies",
    metadata,
    Column("name", String(NAME_CHARS), primary_key=True),
    Column("parent", String(NAME_CHARS), ForeignKey("policies.name")),
    Column("night_id", String(64), ForeignKey("nights.id")),
    Column("base_model", Text, nullable=False),
    Column("adapter_path", Text),
    Column("adapter_sha256", String(64)),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("engine", String(NAME_CHARS), nullable=False, server_default="main"),
    # When the status became what it is.
    Column("changed_at", Double),
    # Whatever happens, at most one of each serves on an engine.
    Index(
        None,
        "engine",
        "status",
        unique=True,
        sqlite_where=_SERVING,
        postgresql_where=_SERVING,
    ),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("policy", String(NAME_CHARS), ForeignKey("policies.name"), nullable=False),
    Column("night_id", String(64), ForeignKey("nights.id")),
    Column("split", String(8), nullable=False),
    Column("prompts", Integer, nullable=False),
    Column("metrics", _json(), nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "policy"),
)

# Every prompt that was kept in full, with its side of the split; it outlives the groups.
prompts = Table(
    "prompts",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("bag", BigInteger, nullable=False),
    Column("cluster", String(64), nullable=False),
    Column("split", String(8), nullable=False),
    # Of clusters that still take near-duplicates (app/store/sketch.py).
    Column("runs", Packed("i")),
    Column("seen_at", Double, nullable=False),
    Index(None, "bag"),
    Index(None, "cluster"),
)

prompt_bands = Table(
    "prompt_bands",
    metadata,
    Column("band", BigInteger, primary_key=True, autoincrement=False),
    Column("prompt", String(64), ForeignKey("prompts.hash", ondelete="CASCADE"), primary_key=True),
    Index(None, "prompt"),
)

learned = Table(
    "learned",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("route", String(NAME_CHARS), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created_at", Double, nullable=False),
    # How many labelled groups it was learned from, and the newest of them.
    Column("labels", Integer, nullable=False),
    Column("last_trace_id", String(64)),
    Column("state", _json(), nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(NAME_CHARS), nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", _json(), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)

spend = Table(
    "spend",
    metadata,
    Column("tenant", String(NAME_CHARS), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("model", String(NAME_CHARS), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
)
