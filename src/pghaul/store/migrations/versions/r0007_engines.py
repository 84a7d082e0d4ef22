"""Profiles of databases that are not PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("pghaul_profile", sa.Column("engine", sa.Text))
