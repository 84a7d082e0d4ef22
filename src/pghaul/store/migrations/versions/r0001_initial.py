"""Runs, their tables and chunks, and what happened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
BIG_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _runs()
    _tables()
    _chunks()
    _events()


def _runs() -> None:
    op.create_table(
        "pghaul_run",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("started", MOMENT, nullable=False),
        sa.Column("finished", MOMENT),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("chunks_done", sa.Integer, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("bytes_estimated", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("wish", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("source_identity", sa.Text, nullable=False),
        sa.Column("target_identity", sa.Text, nullable=False),
        sa.Column("not_carried", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pghaul_run_pkey"),
    )
    op.create_index("pghaul_run_started_idx", "pghaul_run", ["started"])


def _tables() -> None:
    op.create_table(
        "pghaul_table",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position", name="pghaul_table_pkey"),
        _of_run("pghaul_table"),
    )


def _chunks() -> None:
    op.create_table(
        "pghaul_chunk",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("table_schema", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("first_page", sa.BigInteger, nullable=False),
        sa.Column("end_page", sa.BigInteger),
        sa.Column("bytes_estimated", sa.BigInteger, nullable=False),
        sa.Column("rows_estimated", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("receipt", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "table_schema", "table_name", "key", name="pghaul_chunk_pkey"),
        _of_run("pghaul_chunk"),
    )


def _events() -> None:
    op.create_table(
        "pghaul_event",
        sa.Column("id", BIG_KEY, nullable=False, autoincrement=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("relation", sa.Text),
        sa.Column("chunk", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pghaul_event_pkey"),
        _of_run("pghaul_event"),
    )
    op.create_index("pghaul_event_run_id_idx", "pghaul_event", ["run_id", "id"])


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["run_id"], ["pghaul_run.id"], ondelete="CASCADE", name=f"{table}_run_id_fkey")
