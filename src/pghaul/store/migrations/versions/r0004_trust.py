"""Profiles, verifications, and who ran what."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

from pghaul.store.models import Moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("pghaul_run", sa.Column("facts", sa.JSON))
    identity = op.create_table("pghaul_identity", sa.Column("id", sa.Text, primary_key=True))
    op.bulk_insert(identity, [{"id": uuid.uuid4().hex}])
    op.create_table(
        "pghaul_profile",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("secret", sa.Text),
        sa.Column("password_from", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("changed", Moment, nullable=False),
    )
    op.create_table(
        "pghaul_verification",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text),
        sa.Column("started", Moment, nullable=False),
        sa.Column("agrees", sa.Boolean, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
    )
    op.create_index("pghaul_verification_run_id_idx", "pghaul_verification", ["run_id"])
