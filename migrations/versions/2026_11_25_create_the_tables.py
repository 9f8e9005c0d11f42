"""Create the tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def json_type() -> Any:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def packed(item: Any) -> Any:
    """An array on Postgres, packed bytes on SQLite."""
    return sa.LargeBinary().with_variant(postgresql.ARRAY(item), "postgresql")


def upgrade() -> None:
    op.create_table(
        "groups",
        sa.Column("trace_id", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("engine", sa.String(length=200), nullable=False),
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("route", sa.String(length=16), nullable=False),
        sa.Column("difficulty", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stop_reason", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("prompt_preview", sa.Text(), nullable=False),
        sa.Column("prompt_hash", sa.String(length=64)),
        sa.Column("split", sa.String(length=8), nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("votes", json_type(), nullable=False),
        sa.Column("agreement", sa.Double()),
        sa.Column("split_vote", sa.Boolean(), nullable=False),
        sa.Column("verdict_counts", json_type(), nullable=False),
        sa.Column("has_verifier_error", sa.Boolean(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("cache_hit", sa.Boolean(), nullable=False),
        sa.Column("degraded", json_type(), nullable=False),
        sa.Column("metadata", json_type(), nullable=False),
        sa.Column("content", sa.String(length=16), nullable=False),
        sa.Column("user_hash", sa.Text()),
        sa.Column("gateway_version", sa.Text(), nullable=False),
        sa.Column("extractor_version", sa.Text(), nullable=False),
        sa.Column("group_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("trace_id", name=op.f("pk_groups")),
    )
    op.create_index(op.f("ix_groups_model_trace_id"), "groups", ["model", "trace_id"])
    op.create_index(op.f("ix_groups_policy_split"), "groups", ["policy", "split"])
    op.create_index(op.f("ix_groups_received_at"), "groups", ["received_at"])
    op.create_index(op.f("ix_groups_route_trace_id"), "groups", ["route", "trace_id"])
    op.create_index(op.f("ix_groups_status_trace_id"), "groups", ["status", "trace_id"])
    op.create_index(op.f("ix_groups_tenant_trace_id"), "groups", ["tenant", "trace_id"])
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", json_type(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_table(
        "nights",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("schedule", sa.String(length=200), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double()),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("settings", json_type(), nullable=False),
        sa.Column("report", json_type()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nights")),
        sa.UniqueConstraint("schedule", "day", name=op.f("uq_nights_schedule_day")),
    )
    op.create_table(
        "spend",
        sa.Column("tenant", sa.String(length=200), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", "model", name=op.f("pk_spend")),
    )
    op.create_table(
        "labels",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("trace_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("sample", sa.Integer()),
        sa.Column("correction", sa.Text()),
        sa.Column("note", sa.Text()),
        sa.ForeignKeyConstraint(
            ["trace_id"], ["groups.trace_id"], name=op.f("fk_labels_trace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
    )
    op.create_index(op.f("ix_labels_trace_id"), "labels", ["trace_id"])
    op.create_table(
        "payloads",
        sa.Column("trace_id", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("altered", json_type(), nullable=False),
        sa.Column("original_sha256", sa.String(length=64)),
        sa.Column("prompt_token_ids", packed(sa.Integer())),
        sa.ForeignKeyConstraint(
            ["trace_id"], ["groups.trace_id"], name=op.f("fk_payloads_trace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trace_id", name=op.f("pk_payloads")),
    )
    op.create_table(
        "policies",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("parent", sa.String(length=200)),
        sa.Column("night_id", sa.String(length=64)),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("adapter_path", sa.Text()),
        sa.Column("adapter_sha256", sa.String(length=64)),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["night_id"], ["nights.id"], name=op.f("fk_policies_night_id")),
        sa.ForeignKeyConstraint(["parent"], ["policies.name"], name=op.f("fk_policies_parent")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_policies")),
    )
    op.create_table(
        "samples",
        sa.Column("trace_id", sa.String(length=64), nullable=False),
        sa.Column("sample", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("answer_key", sa.Text()),
        sa.Column("reward", sa.Double()),
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("token_ids", packed(sa.Integer())),
        sa.Column("logprobs", packed(postgresql.REAL())),
        sa.Column("trainable", sa.Boolean(), nullable=False),
        sa.Column("not_trainable", sa.Text(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("started_ms", sa.Double(), nullable=False),
        sa.Column("first_token_ms", sa.Double()),
        sa.Column("finished_ms", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trace_id"], ["groups.trace_id"], name=op.f("fk_samples_trace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trace_id", "sample", name=op.f("pk_samples")),
    )
    op.create_index(op.f("ix_samples_policy_trainable"), "samples", ["policy", "trainable"])
    op.create_table(
        "evaluations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("night_id", sa.String(length=64)),
        sa.Column("split", sa.String(length=8), nullable=False),
        sa.Column("prompts", sa.Integer(), nullable=False),
        sa.Column("metrics", json_type(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["night_id"], ["nights.id"], name=op.f("fk_evaluations_night_id")),
        sa.ForeignKeyConstraint(["policy"], ["policies.name"], name=op.f("fk_evaluations_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
    )
    op.create_index(op.f("ix_evaluations_policy"), "evaluations", ["policy"])
    op.create_table(
        "verdicts",
        sa.Column("trace_id", sa.String(length=64), nullable=False),
        sa.Column("sample", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("verifier", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("decisive", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("wait_ms", sa.Double(), nullable=False),
        sa.Column("run_ms", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trace_id", "sample"],
            ["samples.trace_id", "samples.sample"],
            name=op.f("fk_verdicts_trace_id_sample"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trace_id", "sample", "position", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_verifier_status"), "verdicts", ["verifier", "status"])


def downgrade() -> None:
    op.drop_table("verdicts")
    op.drop_table("evaluations")
    op.drop_table("samples")
    op.drop_table("policies")
    op.drop_table("payloads")
    op.drop_table("labels")
    op.drop_table("spend")
    op.drop_table("nights")
    op.drop_table("keys")
    op.drop_table("groups")
