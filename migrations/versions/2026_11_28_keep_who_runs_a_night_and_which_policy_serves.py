"""Keep who runs a night, and which policy serves on which engine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SERVING = sa.text("status IN ('active', 'canary')")


def upgrade() -> None:
    op.add_column(
        "policies",
        sa.Column("engine", sa.String(length=200), nullable=False, server_default="main"),
    )
    op.add_column("policies", sa.Column("changed_at", sa.Double()))
    op.create_index(
        "ix_policies_engine_status",
        "policies",
        ["engine", "status"],
        unique=True,
        sqlite_where=SERVING,
        postgresql_where=SERVING,
    )
    op.add_column("nights", sa.Column("policy", sa.String(length=200)))
    op.add_column("nights", sa.Column("phase", sa.String(length=16)))
    op.add_column("nights", sa.Column("owner", sa.String(length=64)))
    op.add_column("nights", sa.Column("heartbeat_at", sa.Double()))
    op.create_index("ix_nights_policy", "nights", ["policy"], unique=True)


def downgrade() -> None:
    # Not in batch mode: that drops the table for a moment, and what points to it with it.
    op.drop_index("ix_nights_policy", "nights")
    for column in ("heartbeat_at", "owner", "phase", "policy"):
        op.drop_column("nights", column)
    op.drop_index("ix_policies_engine_status", "policies")
    op.drop_column("policies", "changed_at")
    op.drop_column("policies", "engine")
