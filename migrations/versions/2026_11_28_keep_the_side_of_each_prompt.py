"""Keep the side of each prompt, so that near-duplicates stay on one side of the split."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prompts",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("bag", sa.BigInteger(), nullable=False),
        sa.Column("cluster", sa.String(length=64), nullable=False),
        sa.Column("split", sa.String(length=8), nullable=False),
        sa.Column(
            "runs",
            sa.LargeBinary().with_variant(postgresql.ARRAY(sa.Integer()), "postgresql"),
        ),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_prompts"),
    )
    op.create_index("ix_prompts_bag", "prompts", ["bag"])
    op.create_index("ix_prompts_cluster", "prompts", ["cluster"])
    op.create_table(
        "prompt_bands",
        sa.Column("band", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prompt", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt"], ["prompts.hash"], name="fk_prompt_bands_prompt", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("band", "prompt", name="pk_prompt_bands"),
    )
    op.create_index("ix_prompt_bands_prompt", "prompt_bands", ["prompt"])
    op.add_column("groups", sa.Column("cluster", sa.String(length=64)))


def downgrade() -> None:
    # Not in batch mode: that drops the table for a moment, and its samples with it.
    op.drop_column("groups", "cluster")
    op.drop_table("prompt_bands")
    op.drop_table("prompts")
