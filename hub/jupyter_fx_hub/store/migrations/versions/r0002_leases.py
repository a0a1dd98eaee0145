"""Leases by the dispatch: one row for many tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("lease", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("boot", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("tasks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("lease", name=op.f("pk_leases")),
    )
    op.create_index(op.f("ix_leases_endpoint_id"), "leases", ["endpoint_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_leases_endpoint_id"), table_name="leases")
    op.drop_table("leases")
