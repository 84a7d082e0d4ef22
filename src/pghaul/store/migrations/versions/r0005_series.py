"""Series: merge plans that are done again and again, and the runs that are their rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("pghaul_run", sa.Column("series", sa.Text))
    op.create_index("pghaul_run_series_idx", "pghaul_run", ["series", "started"])
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "pghaul_series",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("every", sa.Double, nullable=False),
        sa.Column("started", moment, nullable=False),
        sa.Column("finished", moment),
        sa.Column("rounds", sa.BigInteger, nullable=False),
        sa.Column("empty_rounds", sa.BigInteger, nullable=False),
        sa.Column("failed_rounds", sa.BigInteger, nullable=False),
        sa.Column("different_rounds", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("last_round", moment),
        sa.Column("read_at", moment),
        sa.Column("last_run", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("error_at", moment),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("marks", sa.JSON, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("wish", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
    )
    op.create_index("pghaul_series_started_idx", "pghaul_series", ["started"])
