"""How a run goes over time: samples, the last word on its progress, and why it is paused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "pghaul_sample",
        sa.Column("id", BIG_KEY, nullable=False, autoincrement=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("in_flight", sa.BigInteger, nullable=False),
        sa.Column("chunks_done", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pghaul_sample_pkey"),
        sa.ForeignKeyConstraint(["run_id"], ["pghaul_run.id"], ondelete="CASCADE", name="pghaul_sample_run_id_fkey"),
    )
    op.create_index("pghaul_sample_run_id_idx", "pghaul_sample", ["run_id", "id"])
    op.add_column("pghaul_run", sa.Column("note", sa.Text))
    op.add_column("pghaul_run", sa.Column("progress", sa.JSON))
